# A branch that is red again and again: others of its class pass it, however much later they came, though not a
# worse class. It does not fall behind for ever: more than two setbacks count like two, and its turn comes.
window 1
change A
change Z
red A
red Z
announce A
finish A
announce Z
finish Z
push A
announce A
finish A
push Z
announce Z
finish Z
push A
announce A
finish A
change busy
announce busy
push A fixed
push Z fixed
change young edits f.txt:1 edits f.txt:10 edits f.txt:20
change low priority 3
announce A Z young low
testing busy on main
finish busy
testing young on main
finish young
testing A on main
finish A Z low
main: base busy young A Z low
