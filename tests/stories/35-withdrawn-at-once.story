# Taken back before anybody can have looked at its run: no verdict, nothing left under test.
window 2
change A
announce A
withdraw A
testing nothing
stopped A
main: base
events A: queued testing withdrawn
