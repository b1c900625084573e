# A is green, but the remote's own rule keeps it out: A is told so and not called red; B is tested without
# it and lands.
window 2
change A
change B
refuse A
announce A B
finish B A
events A: queued testing failed(push_refused)
testing B on main
finish B
main: base B
events B: queued testing testing complete
runs 3
