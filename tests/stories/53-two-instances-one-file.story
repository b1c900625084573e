# Two instances touch one file (exercise 4.2 C): in different places they follow each other; in the same place
# the second waits for the first, is told, and completes with its next head.
window 3
change A by roy-1 edits shared.txt:5
change B by roy-2 edits shared.txt:20
change C by roy-2 edits shared.txt:5
announce A B C
events C: queued blocked(textual_conflict)
finish A B
main: base A B
events C: queued blocked(textual_conflict) failed(conflict)
change D by roy-2 edits shared.txt:5
announce D
finish D
main: base A B D
