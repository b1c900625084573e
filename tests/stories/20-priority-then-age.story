# One at a time: infrastructure before backend before frontend, equals in the order of arrival.
window 1
change first
change front priority 3
change back priority 2
change infra priority 1
change later priority 1
announce first front back infra later
finish first infra later back front
main: base first infra later back front
runs 5
