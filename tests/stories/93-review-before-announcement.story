# A verdict may come before its head is announced, and outlives a restart.
window 2
rules review.paths = ["api/**"]
change A edits api/keys:3
change B edits web/page:3
review A approved by eve
restart
announce A B
testing A on main, B on A
finish A B
main: base A B
events A: queued testing complete
