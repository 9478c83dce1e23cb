# backup-common.sh -- what selliko-backup and selliko-restore share; read by them, not run.
#
# shellcheck shell=bash
#
# A backup is a folder BACKUP_DIR/selliko-YYYYMMDDTHHMMSSZ:
#
#   database.dump   pg_dump's custom format
#   uploads/        the published files, from a folder or from a bucket
#   FILES           size, time and path of each of them where they came from: what is the same in the next
#                   backup's list was not changed since
#   ABOUT           when, by which release, of which schema: NAME=value
#   MANIFEST        SHA-256 of all of these, as sha256sum writes it
#
# It gets that name as its last step, so whatever is called so is complete.
#
# In a bucket (BACKUP_DIR=s3://bucket/prefix) it is the same under that prefix, but for uploads/: the files of all
# backups lie together in files/, each named by its SHA-256 as the MANIFEST has it.  There the MANIFEST is
# written last, so whatever has one is complete.

here=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
rules=$here/check.sql       # what must be true of a database
[ -e "$rules" ] || rules=$here/../sql/check.sql
work=               # a private folder for lists and libpq's service file
spool=              # one with room for a dump that comes from a bucket
fetched=            # yes when it is ours
in_bucket=          # yes when BACKUP_DIR is one
reason=             # why it failed, in a sentence
meter=              # the process that shows progress

# ---- talking: silent unless somebody watches or something is wrong -------------------------------
[ -t 2 ] && watched=yes || watched=

step() { [ -z "$watched" ] || printf '==> %s\n' "$*" >&2; }

fail()          # CODE SENTENCE
{
    reason=$2
    printf '%s: %s\n' "$me" "$reason" >&2
    exit "$1"
}

# Shows how much is in PATH while the steps go on.
show_meter()    # PATH
{
    [ -n "$watched" ] || return 0
    (
        while sleep 1; do
            printf '\r    %s ' "$(du -sh "$1" 2>/dev/null | cut -f1)" >&2
        done
    ) &
    meter=$!
}

end_meter()
{
    [ -n "$meter" ] || return 0
    kill "$meter" 2>/dev/null || true
    wait "$meter" 2>/dev/null || true
    meter=
    printf '\r\e[K' >&2
}

log_line()      # MESSAGE, then "name":value pairs
{
    printf '{"time":"%s","level":"info","program":"%s","message":"%s"%s}\n' \
        "$(date -u +%FT%T.%3NZ)" "$me" "$1" "${2:+,$2}" >&2
}

# ---- tools ---------------------------------------------------------------------------------------
# pg_dump must not be older than the server: the newest on this host, where several are installed.
find_tools()
{
    local newest
    newest=$(compgen -G '/usr/lib/postgresql/*/bin/pg_dump' | sort -V | tail -n 1) || true
    [ -z "$newest" ] || PATH=$(dirname "$newest"):$PATH
    command -v pg_dump >/dev/null || fail 69 "there is no pg_dump: install postgresql-client"
    # Beside us, as installed; else wherever the path leads.
    sellikoctl=$here/../../../sbin/sellikoctl
    [ -x "$sellikoctl" ] || sellikoctl=$(command -v sellikoctl) || fail 69 "there is no sellikoctl in the path"
}

# A setting, as the programs understand it.
setting() { "$sellikoctl" setting "$1"; }

# From here on psql and the like connect to the database of the configuration (or of $1), and no password
# stands on a command line.
use_database()  # [URL]
{
    if [ -n "${1:-}" ]; then
        DATABASE_URL=$1 "$sellikoctl" pg-service >"$work/service" || exit 78
    else
        "$sellikoctl" pg-service >"$work/service" || exit 78
    fi
    export PGSERVICEFILE=$work/service PGSERVICE=selliko PGCONNECT_TIMEOUT=10 PGAPPNAME=$me
    unset PGCLUSTER
}

sql()           # [psql's arguments] <SQL
{
    local input=(--file=-) word
    for word; do
        [[ $word != -c && $word != --file=* ]] || input=()
    done
    # not as PGOPTIONS, which PgBouncer refuses
    psql -X --quiet --no-align --tuples-only --set=ON_ERROR_STOP=1 \
        -c "SET client_min_messages = warning" -c "SET TimeZone = 'UTC'" "$@" "${input[@]}"
}

# A command whose errors are the reason of a failure.  It can be ended by a signal to us.
run()           # WHAT COMMAND…
{
    local what=$1 status=0
    shift
    "$@" 2>"$work/stderr" &
    child=$!
    wait "$child" || status=$?
    child=
    [ "$status" = 0 ] && return 0
    cat "$work/stderr" >&2
    fail 1 "$what failed: $(tail -n 1 "$work/stderr")"
}
child=

# ---- backups -------------------------------------------------------------------------------------
is_name() { [[ $1 =~ ^selliko-[0-9]{8}T[0-9]{6}Z$ ]]; }

# $dir is where the backups are from now on.
use_place()     # DIR
{
    dir=$1
    in_bucket=
    if [[ $dir = s3://* ]]; then
        in_bucket=yes
        export BACKUP_DIR=$dir
    fi
}

bucket() { "$sellikoctl" bucket "$@"; }

# Lines "SUM  NAME" of $work/todo are carried, those that arrived are then in $work/carried.  To be run by `run`,
# for it becomes that process.
carry()         # FROM TO [--anew]
{
    exec "$sellikoctl" bucket carry "$@" ${watched:+--progress 8} <"$work/todo" >"$work/carried"
}

# The complete backups in $dir, oldest first.
backups()
{
    local path
    if [ -n "$in_bucket" ]; then
        bucket list backup selliko- >"$work/objects" || return 69
        sed -nE 's,^[0-9]+ [0-9]+ (selliko-[0-9]{8}T[0-9]{6}Z)/MANIFEST$,\1,p' "$work/objects"
        return 0
    fi
    for path in "$dir"/selliko-*; do
        [ ! -e "$path/MANIFEST" ] || ! is_name "${path##*/}" || printf '%s\n' "${path##*/}"
    done
}

newest_backup()
{
    local all
    all=$(backups) || fail 69 "$dir cannot be listed"
    printf '%s' "${all##*$'\n'}"
}

# The backup NAME of a bucket, but for its uploads, in the folder $spool, where all but the MANIFEST was held against
# its sum.  (The MANIFEST's own is noted with the object.)
fetch()         # NAME
{
    local one
    rm -rf "$spool"
    mkdir "$spool" || fail 73 "cannot make $spool"
    fetched=yes
    for one in MANIFEST ABOUT FILES database.dump; do
        run "fetching $dir/$1/$one" "$sellikoctl" bucket get "$1/$one" "$spool/$one"
    done
    grep -v '^.\{64\}  uploads/' "$spool/MANIFEST" >"$spool/SUMS" || fail 1 "$dir/$1 has an empty MANIFEST"
    run "checking the sums of $1" env -C "$spool" sha256sum --check --quiet --strict SUMS >&2
}

# The uploads of a MANIFEST as carry takes them.
uploads_of()    # MANIFEST
{
    sed -n 's|^\(.\{64\}\)  uploads/|\1  |p' "$1"
}

about()         # BACKUP NAME
{
    sed -n "s/^$2=//p" "$1/ABOUT"
}

# All that the manifest names is there and unchanged.
check_sums()    # BACKUP
{
    [ -s "$1/MANIFEST" ] || fail 1 "$1 has no MANIFEST: it is no complete backup"
    run "checking the sums of $1" env -C "$1" sha256sum --check --quiet --strict MANIFEST >&2
}

# What the restored database expects to find in the uploads, against what the backup holds.
missing_files() # BACKUP; SQL's arguments follow
{
    local backup=$1
    shift
    sql "$@" >"$work/expected" <<'SQL'
SELECT format('uploads/listings/%s/device/photo%s%s', l.id, n, kind)
    FROM listings l, generate_series(1, l.photo_count) n,
         unnest(ARRAY['_thumb.jpg', '_medium.jpg', '_full.jpg', '.webp']) kind
UNION ALL SELECT format('uploads/listings/%s/bill/bill.%s', id, bill_ext) FROM listings WHERE bill_ext IS NOT NULL
UNION ALL SELECT format('uploads/verification/%s/%s', order_id, photo)
    FROM agent_tasks, jsonb_array_elements_text(metadata -> 'verificationPhotos') photo
SQL
    cut -c 67- "$backup/MANIFEST" | LC_ALL=C sort >"$work/held"
    LC_ALL=C sort -u "$work/expected" | LC_ALL=C comm -23 - "$work/held"
}

# ---- beginning and end ---------------------------------------------------------------------------
begin()
{
    work=$(mktemp -d)
    [ -z "$watched" ] || exec 8>&2      # where progress is shown, whatever becomes of a command's errors
    trap at_exit EXIT
    trap 'reason=${reason:-"line $LINENO failed: $BASH_COMMAND"}' ERR
    trap 'reason="ended by a signal"; exit 143' TERM HUP
    trap 'reason="ended by a signal"; exit 130' INT
    find_tools
    # Not in /tmp, which may be small; and by a name that the next run knows, should this one be killed.
    spool=$(setting STATE_DIR)/.spool-$me || exit 78
}

at_exit()
{
    local status=$?
    trap - EXIT ERR
    set +e
    end_meter
    [ -z "$child" ] || { kill "$child" 2>/dev/null; wait "$child" 2>/dev/null; }
    clean_up "$status"
    [ -z "$work" ] || rm -rf "$work"
    [ -z "$fetched" ] || rm -rf "$spool"
    exit "$status"
}
