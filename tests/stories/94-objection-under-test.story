# An objection holds a request also under test; others go on, and only its reviewer lifts it.
window 2
change A
change B
announce A B
testing A on main, B on A
review A changes_requested by eve
stopped A B
testing B on main
finish B
main: base B
events A: queued testing blocked(review)
review A approved by ana
testing nothing
review A approved by eve
testing A on main
finish A
main: base B A
