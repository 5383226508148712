# What zsh makes of the beginning of an option, which it does on a terminal: `complete.zsh FOLDER PROGRAM BEGINNING WHOLE`.
zmodload zsh/zpty
zpty shell zsh -f -i
# The terminal shows what is typed too, so that is not what is waited for.
zpty -w shell "fpath=(${(q)1} \$fpath); autoload -Uz compinit && compinit -D -u && print re'a'dy"
zpty -r shell answer '*ready*'
zpty -w -n shell "$2 $3"$'\t'
zpty -r shell answer "*$4*"
print -r -- $answer
zpty -d shell
