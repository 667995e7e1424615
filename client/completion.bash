# Bash completion of modelmap(1): the program itself knows its commands, options and the names of models.
_modelmap() {
	local line cur=${COMP_WORDS[COMP_CWORD]}
	# Words as they will be: what is escaped or quoted on the line is not so in a name.
	local words=("${COMP_WORDS[@]//\\/}")
	words=("${words[@]/#[\"\']/}")
	COMPREPLY=()
	while IFS= read -r line; do
		case $line in
		$'\tfile')
			compopt -o filenames
			mapfile -t COMPREPLY < <(compgen -f -- "$cur")
			return
			;;
		$'\tdir')
			compopt -o filenames
			mapfile -t COMPREPLY < <(compgen -d -- "$cur")
			return
			;;
		*)
			printf -v line %q "$line"
			COMPREPLY+=("$line")
			;;
		esac
	done < <("${COMP_WORDS[0]}" __complete "$COMP_CWORD" "${words[@]}" 2>/dev/null)
	# A colon splits words in bash: what stands before it must not come twice.
	if [[ $cur == *:* ]] && declare -F __ltrim_colon_completions >/dev/null; then
		__ltrim_colon_completions "$cur"
	fi
}
complete -F _modelmap modelmap
