# A is taken back while it runs: its run is stopped, nothing is claimed about it, B is tested without it.
window 2
change A
change B
announce A B
testing A on main, B on A
withdraw A
stopped A B
testing B on main
finish B
main: base B
events A: queued testing withdrawn
runs 3
