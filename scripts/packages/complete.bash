# What bash offers for the beginning of an option: `complete.bash FILE PROGRAM BEGINNING`.
# shellcheck source=/dev/null
source "$1"
function=$(complete -p "$2")
function=${function##*-F }
function=${function%% *}
COMP_WORDS=("$2" "$3")
COMP_CWORD=1
"$function" "$2" "$3" "$2"
printf '%s\n' "${COMPREPLY[@]}"
