#compdef modelmap
# Zsh completion of modelmap(1): the program itself knows its commands, options and the names of models (completion.bash
# asks the same). Installed as _modelmap where zsh looks for functions.
local line
local -a asked offered
# Words as they will be: what is quoted or escaped on the line is not so in a name.
asked=("${(@Q)words}")
for line in ${(f)"$(_call_program modelmap ${(q)asked[1]} __complete $((CURRENT - 1)) ${(@q)asked} 2>/dev/null)"}; do
	case $line in
	$'\tfile') _files; return ;;
	$'\tdir') _files -/; return ;;
	*) offered+=("$line") ;;
	esac
done
(( $#offered )) && compadd -- "${offered[@]}"
