"""Print the completion of rwtl's command lines for bash, zsh or fish."""

import argparse

from rwtl.apps import apps

# Each asks Hydra for the choices of an app, as Hydra's own completion does, which knows no first word such as `train`:
# the line that Hydra sees begins with it. After `status` comes the line of another app.
SHELLS = {
    "bash": r"""
_rwtl() {
    local apps="APPS" line=${COMP_LINE:0:COMP_POINT} word breaks prefix
    local -a words choices
    read -ra words <<< "$line"
    [[ $line == *[[:space:]] ]] && words+=("")
    word=${words[-1]}
    COMPREPLY=()
    if (( ${#words[@]} == 2 )) || [[ ${#words[@]} == 3 && ${words[1]} == status ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$apps" -S " " -- "$word")
    fi
    if (( ${#words[@]} > 2 )); then
        if [[ ${#words[@]} -gt 3 && ${words[1]} == status && " $apps " == *" ${words[2]} "* ]]; then
            words=("${words[0]}" "${words[@]:2}")
        fi
        read -ra choices <<< "$(COMP_LINE="${words[*]:1}" "${words[0]}" "${words[1]}" -sc query=bash 2> /dev/null)"
        COMPREPLY+=("${choices[@]}")
    fi
    breaks=${COMP_WORDBREAKS//[^=:]/}
    if [[ -n $breaks && $word == *["$breaks"]* ]]; then # bash completes what follows the last of them alone
        prefix=${word%"${word##*["$breaks"]}"}
        COMPREPLY=("${COMPREPLY[@]#"$prefix"}")
    fi
}
complete -o nospace -o default -F _rwtl rwtl
""",
    "zsh": r"""
_rwtl() {
    local -a apps=(APPS) line=("${(@)words[1,CURRENT-1]}" "$PREFIX") choices
    if (( CURRENT == 2 )) || [[ $CURRENT == 3 && $line[2] == status ]]; then
        compadd -- $apps
    fi
    if (( CURRENT > 2 )); then
        if [[ $CURRENT -gt 3 && $line[2] == status && -n ${apps[(r)$line[3]]} ]]; then
            line[2]=()
        fi
        choices=(${=$(COMP_LINE="${(j: :)line[2,-1]}" $line[1] $line[2] -sc query=bash 2> /dev/null)})
        compadd -S '' -- $choices || _files
    fi
}
compdef _rwtl rwtl
""",
    "fish": r"""
function __rwtl
    set -l apps APPS
    set -l words (commandline -opc) (commandline -ct)
    if test (count $words) = 2; or test (count $words) = 3 -a "$words[2]" = status
        string join \n $apps
    end
    if test (count $words) -gt 2
        if test (count $words) -gt 3 -a "$words[2]" = status; and contains -- $words[3] $apps
            set -e words[2]
        end
        COMP_LINE=(string join " " -- $words[2..]) $words[1] $words[2] -sc query=fish 2> /dev/null
    end
end
complete -c rwtl -f -a "(__rwtl)"
""",
}


def main() -> None:
    """Print the function of the shell that sys.argv names."""
    parser = argparse.ArgumentParser(description=__doc__, epilog='For bash: eval "$(rwtl completion bash)"')
    parser.add_argument("shell", choices=SHELLS)
    print(SHELLS[parser.parse_args().shell].strip().replace("APPS", " ".join(apps())))
