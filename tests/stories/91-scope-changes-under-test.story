# A rule that comes while a candidate is under test stops it, and those above it go on without it. It keeps its place.
window 3
change A by roy edits api/keys:3
change B by ana
announce A B
testing A on main, B on A
rules scope.protected = ["api/**"]
look
stopped A B
testing B on main
events A: queued testing blocked(scope)
rules
look
stopped B
testing A on main, B on A
finish A B
main: base rules rules A B
