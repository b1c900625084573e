# Merges of all three kinds wait (exercise 4.1 C): infrastructure lands first, then backend, then frontend.
window 1
change busy
change ui touches frontend
change api touches backend
change net touches infrastructure
announce busy ui api net
finish busy net api ui
main: base busy net api ui
