# M landed before A, which needs it, was announced: A waits for nothing.
window 2
change M
announce M
finish M
change A needs M
announce A
testing A on main
finish A
main: base M A
events A: queued testing complete
