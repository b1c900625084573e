# Nobody claims a class: what the changed paths are part of decides who goes first.
window 1
rules systems.net.paths = ["net/**"]; systems.net.priority = 1; systems.ui.paths = ["ui/**"]; systems.ui.priority = 9
change busy
change ui edits ui/page:3
change api edits api/keys:3
change net edits net/wire:3
announce busy ui api net
finish busy net api ui
main: base busy net api ui
