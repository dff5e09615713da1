#!/usr/bin/env bash
# Calibrates a folder of nights, or one night: masters, frames, world coordinates where a solver is set, photometry.
# Nothing is written below PATH. What is done is not done again; new and changed files are.
#
# Exit codes: 0 all frames done, 1 some failed (the table at the end says which and why), 2 wrong call or
# configuration, 3 database or files cannot be used.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
vo=${VO:-$(command -v vo || echo "$here/../.venv/bin/vo")}

usage() {
  cat <<'TEXT'
Usage: calibrate_nights.sh PATH [options]
  PATH               folder of nights (PATH/DATE/DATE-CAMS/*.fits), or one of its nights (PATH = .../DATE)
  --mem-limit GB     memory that combining frames may use in each process; under SLURM it follows from the
                     memory of the job and the number of processes, else 2
  --workers N        processes; under SLURM the processors of the job, as far as its memory goes
  --force            do again what is done
  --config FILE      configuration; default configs/astep.yaml
  --set A.B=C        change a value of the configuration; may be repeated
  --data DIR         where results go; default VO_DATA, else results/data
  --dry-run          print the commands and do nothing
TEXT
}

fail() {
  echo "calibrate_nights.sh: $1" >&2
  exit 2
}

path='' mem_limit='' workers='' config=$here/../configs/astep.yaml dry=''
flags=(--refresh) more=() place=()
while [ $# -gt 0 ]; do
  case $1 in
    --mem-limit | --workers | --config | --set | --data)
      [ $# -ge 2 ] || fail "$1 needs a value"
      case $1 in
        --mem-limit) mem_limit=$2 ;;
        --workers) workers=$2 ;;
        --config) config=$2 ;;
        --set) more+=(--set "$2") ;;
        --data) place=(--data "$2") ;;
      esac
      shift
      ;;
    --force) flags+=(--redo) ;;
    --dry-run) dry=yes ;;
    -h | --help)
      usage
      exit 0
      ;;
    -*) fail "unknown option $1; --help lists them" ;;
    *)
      [ -z "$path" ] || fail "one PATH at a time: $path or $1"
      path=$1
      ;;
  esac
  shift
done
[ -n "$path" ] || { usage >&2; exit 2; }
[ -d "$path" ] || fail "$path is not a folder"
path=$(cd "$path" && pwd)
for value in "$mem_limit" "$workers"; do
  [[ $value =~ ^([0-9]+([.][0-9]*)?|[.][0-9]+)?$ ]] || fail "$value is not a number"
done

# The memory of a SLURM job, MB: per node, else per processor. 0 there means all of the node, which is not known.
cpus=${SLURM_CPUS_PER_TASK:-${SLURM_CPUS_ON_NODE:-1}}
memory=${SLURM_MEM_PER_NODE:-0}
[ "$memory" -gt 0 ] || memory=$((${SLURM_MEM_PER_CPU:-0} * cpus))
if [ "$memory" -gt 0 ]; then
  # A process holds a frame or two whole beside what combining may use: 3 GB for 4k x 4k pixels.
  if [ -z "$workers" ]; then
    workers=$((memory / 3000 < cpus ? memory / 3000 : cpus))
    [ "$workers" -ge 1 ] || workers=1
  fi
  # A quarter of the memory is left to the database server; of the rest each process may combine in half of its part.
  [ -n "$mem_limit" ] || mem_limit=$(awk -v mb="$memory" -v n="$workers" 'BEGIN { printf "%.2f", mb * 0.375 / n / 1000 }')
fi

changes=(--set "observatories.astep.archive=$path" "${more[@]}")
[ -z "$mem_limit" ] || changes+=(--set "observatories.astep.memory_limit=$mem_limit")
[ -z "$workers" ] || flags+=(--workers "$workers")

run() {
  if [ -n "$dry" ]; then
    printf '%q ' "$@"
    echo
    return 0
  fi
  "$@"
}

code=0
for step in fetch calibrate reduce; do
  status=0
  run "$vo" run "$config" --step "$step" "${flags[@]}" "${changes[@]}" "${place[@]}" || status=$?
  # A frame that failed (1) does not keep the others from going on; a folder that cannot be read does.
  [ "$status" -le 1 ] && { [ "$status" -eq 0 ] || [ "$step" != fetch ]; } || exit "$status"
  [ "$status" -eq 0 ] || code=1
done

# What failed now or in an earlier run and was not mended since.
night=${path##*/}
[[ $night =~ ^[0-9]{4}-[0-9]{2}-[0-9]{2}$ ]] || night=''
query="SELECT DISTINCT t.unit AS frame, t.step, t.error FROM task t"
query+=" JOIN configuration c ON c.step = t.step AND c.digest = t.digest AND c.current"
query+=" WHERE t.status = 'failed' AND t.step ~ '^(fetch|calibrate|reduce)'"
query+=" AND (t.unit = '' OR t.unit LIKE '%$night%') ORDER BY 1, 2, 3"
if [ -n "$dry" ]; then
  run "$vo" sql "$query" "${place[@]}"
  exit 0
fi
table=$("$vo" sql "$query" --format csv "${place[@]}")
if [ "$(printf '%s\n' "$table" | wc -l)" -gt 1 ]; then
  echo "Frames that failed:"
  "$vo" sql "$query" "${place[@]}"
  code=1
fi
exit "$code"
