#!/usr/bin/env bash
# Submits the calibration of one night to SLURM. How much memory combining may use follows, in the job, from the
# memory the job has: see calibrate_nights.sh.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

usage() {
  cat <<'TEXT'
Usage: slurm_night.sh NIGHT [options] [-- options of calibrate_nights.sh]
  NIGHT              folder of one night, .../DATE with DATE-CAMS in it
  --mem GB           memory of the job; default 16
  --cpus N           processors of the job; default 4
  --time HH:MM:SS    longest time; default 04:00:00
  --partition NAME   partition; default that of the site
  --out DIR          data folder and logs of the night are in DIR/DATE; default results/astep
  --force            do again what is done
  --dry-run          print what would be submitted
TEXT
}

fail() {
  echo "slurm_night.sh: $1" >&2
  exit 2
}

night='' mem=16 cpus=4 time=04:00:00 partition='' out=results/astep dry=''
options=()
while [ $# -gt 0 ]; do
  case $1 in
    --mem | --cpus | --time | --partition | --out)
      [ $# -ge 2 ] || fail "$1 needs a value"
      printf -v "${1#--}" '%s' "$2"
      shift
      ;;
    --force) options+=(--force) ;;
    --dry-run) dry=yes ;;
    --)
      shift
      options+=("$@")
      break
      ;;
    -h | --help)
      usage
      exit 0
      ;;
    -*) fail "unknown option $1; --help lists them" ;;
    *)
      [ -z "$night" ] || fail "one night at a time: $night or $1; slurm_nights.sh takes a folder of nights"
      night=$1
      ;;
  esac
  shift
done
[ -n "$night" ] || { usage >&2; exit 2; }
[ -d "$night" ] || fail "$night is not a folder"
night=$(cd "$night" && pwd)
date=${night##*/}
[[ $date =~ ^[0-9]{4}-[0-9]{2}-[0-9]{2}$ ]] || fail "$night is not a night: its name is no date"
[[ $mem =~ ^[1-9][0-9]*$ && $cpus =~ ^[1-9][0-9]*$ ]] || fail "--mem and --cpus are whole numbers: $mem, $cpus"
case $out in /*) ;; *) out=$PWD/$out ;; esac

# --wrap is run by sh; calibrate_nights.sh has to run where it lies, not from a copy in the spool folder.
work="exec ${here@Q}/calibrate_nights.sh ${night@Q} --data ${out@Q}/$date/data${options[*]:+ ${options[*]@Q}}"
command=(
  sbatch --job-name="calibrate-$date" --nodes=1 --ntasks=1 --cpus-per-task="$cpus" --mem="${mem}G" --time="$time"
  --output="$out/$date/%j.log" ${partition:+--partition="$partition"} --wrap="$work"
)
if [ -n "$dry" ]; then
  printf '%q ' "${command[@]}"
  echo
  exit 0
fi
mkdir -p "$out/$date"
exec "${command[@]}"
