# A needs a change that no announcement here ever was of: it waits, names what it waits for, and takes nobody's
# place. When that change has come to main by other hands nobody here knows its name, so A stays where it is until
# it is announced anew without that need.
window 2
change A needs elsewhere
change B
announce A
testing nothing
events A: queued blocked(dependency)
announce B
testing B on main
finish B
hotfix elsewhere
look
testing nothing
withdraw A
change A2
announce A2
finish A2
events A: queued blocked(dependency) withdrawn
main: base B elsewhere A2
