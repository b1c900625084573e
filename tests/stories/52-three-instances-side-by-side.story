# Three instances of one agent on independent work (exercise 4.2 B): no conflict, all are tested at once and land.
window 3
change A by roy-1 edits one.txt:1
change B by roy-2 edits two.txt:1
change C by roy-3 edits three.txt:1
announce A B C
testing A on main, B on A, C on A B
finish C B A
main: base A B C
runs 3
