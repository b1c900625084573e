# Two branches change the same line (exercise 4.1 B): the second is told with whom it conflicts and waits; when
# it has been merged with main and announced again, it lands.
window 2
change A by roy edits api.txt:10
change B by moss edits api.txt:10
announce A B
events B: queued blocked(textual_conflict)
finish A
events B: queued blocked(textual_conflict) failed(conflict)
change B2 by moss edits api.txt:10
announce B2
finish B2
main: base A B2
events B2: queued testing complete
