#!/usr/bin/env bash
# Submits the calibration of a folder of nights to SLURM, one task of an array for each night.
#
# --mem and --cpus are those of one task: SLURM gives each task its own, so that nothing is shared and nothing is
# promised twice; --at-once bounds how many run together. Each night has a data folder and a database of its own,
# since tasks run on different machines. To use one database for all, set VO_DATABASE_URL and give
# `-- --data DIR`, a folder all machines see.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

usage() {
  cat <<'TEXT'
Usage: slurm_nights.sh FOLDER [options] [-- options of calibrate_nights.sh]
  FOLDER             folder of nights, FOLDER/DATE/DATE-CAMS
  --mem GB           memory of each night; default 16
  --cpus N           processors of each night; default 4
  --total-mem GB     memory all nights that run together may have; sets --at-once
  --at-once N        nights that run together; default as many as SLURM lets
  --time HH:MM:SS    longest time of a night; default 04:00:00
  --partition NAME   partition; default that of the site
  --out DIR          data folder and logs of each night are in DIR/DATE and DIR/logs; default results/astep
  --force            do again what is done
  --dry-run          print what would be submitted
TEXT
}

fail() {
  echo "slurm_nights.sh: $1" >&2
  exit 2
}

folder='' mem=16 cpus=4 total='' at_once='' time=04:00:00 partition='' out=results/astep dry=''
options=()
while [ $# -gt 0 ]; do
  case $1 in
    --mem | --cpus | --time | --partition | --out)
      [ $# -ge 2 ] || fail "$1 needs a value"
      printf -v "${1#--}" '%s' "$2"
      shift
      ;;
    --total-mem | --at-once)
      [ $# -ge 2 ] || fail "$1 needs a value"
      [[ $2 =~ ^[1-9][0-9]*$ ]] || fail "$1 is a whole number, not $2"
      if [ "$1" = --total-mem ]; then total=$2; else at_once=$2; fi
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
      [ -z "$folder" ] || fail "one folder at a time: $folder or $1"
      folder=$1
      ;;
  esac
  shift
done
[ -n "$folder" ] || { usage >&2; exit 2; }
[ -d "$folder" ] || fail "$folder is not a folder"
folder=$(cd "$folder" && pwd)
[[ $mem =~ ^[1-9][0-9]*$ && $cpus =~ ^[1-9][0-9]*$ ]] || fail "--mem and --cpus are whole numbers: $mem, $cpus"
case $out in /*) ;; *) out=$PWD/$out ;; esac
if [ -n "$total" ]; then
  [ "$total" -ge "$mem" ] || fail "--total-mem $total does not hold one night of --mem $mem"
  [ -n "$at_once" ] && [ "$at_once" -le $((total / mem)) ] || at_once=$((total / mem))
fi

dates=()
for night in "$folder"/*/; do
  date=$(basename "$night")
  [[ $date =~ ^[0-9]{4}-[0-9]{2}-[0-9]{2}$ && -d $night/$date-CAMS ]] && dates+=("$date")
done
[ ${#dates[@]} -gt 0 ] || fail "$folder holds no night DATE/DATE-CAMS"

# --wrap is run by sh, which has no arrays: the nights are its arguments, and the task's number says which is its own.
work="set -- ${dates[*]}; shift \"\$SLURM_ARRAY_TASK_ID\";"
work+=" exec ${here@Q}/calibrate_nights.sh ${folder@Q}/\"\$1\" --data ${out@Q}/\"\$1\"/data${options[*]:+ ${options[*]@Q}}"
command=(
  sbatch --job-name=calibrate --array="0-$((${#dates[@]} - 1))${at_once:+%$at_once}" --nodes=1 --ntasks=1
  --cpus-per-task="$cpus" --mem="${mem}G" --time="$time" --output="$out/logs/%A_%a.log"
  ${partition:+--partition="$partition"} --wrap="$work"
)
if [ -n "$dry" ]; then
  printf '%q ' "${command[@]}"
  echo
  exit 0
fi
mkdir -p "$out/logs"
exec "${command[@]}"
