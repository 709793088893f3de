# What all entry points share: the launch plan (specs/launch-plan.md), and where the pod's processes are.

export LC_ALL=C PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
subcommand=${0##*/}

# One line, and 254: Gantry's own failures.
fail() {
	printf 'gantry: %s: %s\n' "$subcommand" "$*" >&2
	exit 254
}

# Runs a program that must succeed; what it complains about becomes the one line.
try() {
	local said
	said=$("$@" 2>&1) || fail "$1: ${said//$'\n'/; }"
}

# each_step SECTION FUNCTION: calls FUNCTION WORD ARGUMENT… for each step of ./plan in SECTION, a pattern.
each_step() {
	local word count argument section='' plan
	local -a arguments
	exec {plan}<plan || fail 'there is no plan'
	IFS= read -r -d '' word <&"$plan" && IFS= read -r -d '' count <&"$plan" &&
		[[ $word == gantry-plan && $count == 1 ]] || fail 'the plan is none of version 1'
	while IFS= read -r -d '' word <&"$plan"; do
		IFS= read -r -d '' count <&"$plan" && [[ $count =~ ^[0-9]{1,6}$ ]] || fail 'the plan is cut off'
		arguments=()
		while ((count-- > 0)); do
			IFS= read -r -d '' argument <&"$plan" || fail 'the plan is cut off'
			arguments+=("$argument")
		done
		if [[ $word == section ]]; then
			section=${arguments[*]}
		elif [[ $section == $1 ]]; then
			"$2" "$word" "${arguments[@]}"
		fi
	done
	[[ -z $word ]] || fail 'the plan is cut off'
	exec {plan}<&-
}

# The steps of the app's section that say what its processes are and may do.
umask=0022 environment=() uid=0 gid=0 groups=() directory=/ signal=TERM capabilities=() command=() limits=()
note_app_step() {
	local word=$1
	shift
	case $word in
	umask) umask=$1 ;;
	env)
		# Programs of the host run with it, a moment before the app's own does.
		case $1 in
		LD_* | GLIBC_TUNABLES | GCONV_PATH | LOCPATH | NLSPATH)
			fail "this stage1 cannot give an app the variable $1, which the host's own programs would heed"
			;;
		esac
		environment+=("$1=$2")
		;;
	user) uid=$1 gid=$2 groups=("${@:3}") ;;
	chdir) directory=$1 ;;
	stop-signal) signal=$1 ;;
	keep-caps) capabilities=("$@") ;;
	no-new-privileges) limits+=(--no-new-privs) ;;
	exec) command=("$1" "${@:3}") ;;
	*) fail "this stage1 cannot do \"$word\" in an app" ;;
	esac
}

# become ROOT UID PROGRAM ARGUMENT…: what the app's section says, and then the program in ROOT; before all
# of it the words of `entering`. Groups and capabilities while there is a root to come, the user after it.
entering=()
become() {
	local root=$1 uid=$2 set=-all capability list
	shift 2
	for capability in "${capabilities[@]}"; do
		capability=${capability#CAP_}
		set+=,+${capability,,}
	done
	list=$(IFS=,; echo "${groups[*]}")
	umask "$umask"
	exec "${entering[@]}" env -i --default-signal -- "${environment[@]}" \
		"$(type -P setpriv)" --regid="$gid" ${list:+--groups="$list"} ${list:---clear-groups} \
		--bounding-set="$set" --inh-caps=-all "${limits[@]}" \
		"$(type -P unshare)" --root="$root" --wd="$directory" --setuid="$uid" -- "$@"
}

# inside BASE PATH: REPLY is where PATH is for someone whose root is BASE, whatever links are on the way.
inside() {
	local rest=$2 place='' part target links=0
	while [[ -n $rest ]]; do
		part=${rest%%/*}
		[[ $rest == */* ]] && rest=${rest#*/} || rest=
		case $part in
		'' | .) continue ;;
		..) place=${place%/*} ;;
		*)
			if [[ -L $1$place/$part ]]; then
				((links++ < 40)) || fail "$2: too many symbolic links"
				IFS= read -r -d '' target < <(readlink -zn -- "$1$place/$part") ||
					[[ -n $target ]] || fail "$2: a symbolic link that cannot be read"
				[[ $target == /* ]] && place=
				rest=$target/$rest
			else
				place+=/$part
			fi
			;;
		esac
	done
	REPLY=$1$place
}

# Sets `run` and `init` to the pod's processes. The numbers in `pid` are a hint: they are believed when
# the one has this very directory open and locked, and the other is the child of its child.
find_pod() {
	local fd parent key value
	run='' init=''
	read -r run init 2>/dev/null <pid
	[[ $run =~ ^[0-9]+$ && $init =~ ^[0-9]+$ ]] || return 1
	for fd in /proc/"$run"/fd/*; do
		[[ $fd -ef . ]] && grep -qs '^lock:.*FLOCK' "/proc/$run/fdinfo/${fd##*/}" && break
		fd=
	done
	[[ -n $fd ]] || return 1
	parent_of "$init" && parent_of "$parent" && [[ $parent == "$run" ]]
}

# Sets `parent`.
parent_of() {
	local process=$1 key value
	parent=
	while read -r key value; do
		[[ $key == PPid: ]] && parent=$value
	done 2>/dev/null <"/proc/$process/status"
	[[ -n $parent ]]
}
