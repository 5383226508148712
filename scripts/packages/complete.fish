# What fish offers for the beginning of an option: `complete.fish FOLDER PROGRAM BEGINNING`. It loads what belongs to
# programs that it finds.
set -p fish_complete_path $argv[1]
complete -C "$argv[2] $argv[3]"
