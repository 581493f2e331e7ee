# Completion of nines for bash: source it, or install it as /usr/share/bash-completion/completions/nines

# Names that the running engine knows: _nines_names KEY ("path", "service", "flag", "id").
_nines_names() {
  nines status --json 2>/dev/null | grep -Eo "\"$1\":\"[^\"\\]+\"" | cut -d'"' -f4 | sort -u
}

# Names of protections: _nines_protections COMMAND ("breaker", "shed"); without one, of all that people set or look at.
_nines_protections() {
  local command
  for command in ${1:-breaker limiter bulkhead shed}; do
    nines "$command" list --json 2>/dev/null | grep -Eo '"name":"[^"\]+"' | cut -d'"' -f4
  done | sort -u
}

_nines() {
  local word=${COMP_WORDS[COMP_CWORD]} command=${COMP_WORDS[1]} before=${COMP_WORDS[COMP_CWORD-1]} choices=
  local -a common=(--json --help)
  COMPREPLY=()
  if [ "$COMP_CWORD" = 1 ]; then
    choices="init run demo check test status events explain track deploy rollback alert flag breaker limiter bulkhead shed audit backup reload stop version help"
    mapfile -t COMPREPLY < <(compgen -W "$choices --help --version" -- "$word")
    return
  fi
  if [[ $word == -* ]]; then
    case $command in
      run) choices="--observe" ;;
      demo) choices="--keep --seconds" ;;
      events) choices="--follow --topic --last --engine" ;;
      track) choices="--duration --ok --failed --engine" ;;
      deploy) choices="--record --engine" ;;
      rollback) choices="--reason --engine" ;;
      alert) choices="--all --engine" ;;
      flag) choices="--reason --engine" ;;
      breaker | shed) choices="--for --reason --engine" ;;
      audit) choices="--after" ;;
      status | explain | limiter | bulkhead | backup | reload | stop) choices="--engine" ;;
    esac
    mapfile -t COMPREPLY < <(compgen -W "$choices ${common[*]}" -- "$word")
    return
  fi
  case $command:$COMP_CWORD in
    track:2) choices=$(_nines_names path) ;;
    explain:2) choices="$(_nines_names path) $(_nines_names service) $(_nines_names flag) $(_nines_names id) $(_nines_protections)" ;;
    deploy:2 | rollback:2) choices=$(_nines_names service) ;;
    alert:2) choices="list ack" ;;
    alert:3) [ "$before" = ack ] && choices=$(nines alert list --json 2>/dev/null | grep -Eo '"id":"[^"]+"' | cut -d'"' -f4) ;;
    flag:2) choices="list on off lift" ;;
    flag:3) [ "$before" != list ] && choices=$(_nines_names flag) ;;
    breaker:2) choices="list open close force disable lift reset" ;;
    breaker:3) [ "$before" != list ] && choices=$(_nines_protections breaker) ;;
    limiter:2 | bulkhead:2) choices="list" ;;
    shed:2) choices="list lift $(_nines_protections shed)" ;;
    shed:3) [ "$before" = lift ] && choices=$(_nines_protections shed) ;;
    audit:2) choices="verify list" ;;
    help:2) choices="init run demo check test status events explain track deploy rollback alert flag breaker limiter bulkhead shed audit backup reload stop version" ;;
    run:* | check:* | init:* | audit:3)
      mapfile -t COMPREPLY < <(compgen -d -- "$word")
      return
      ;;
    test:* | backup:*)
      mapfile -t COMPREPLY < <(compgen -f -- "$word")
      return
      ;;
  esac
  mapfile -t COMPREPLY < <(compgen -W "$choices" -- "$word")
}
complete -F _nines nines
