#!/usr/bin/env bash
# The lab's stand-in for the script that operates a Bitwarden installation. It keeps the real one's rules for
# arguments, questions, the order of calls and exit statuses; the work is done by bwdata/scripts/run.sh.
set -e

YEAR=$(date +'%Y')
cat <<EOF

  b i t w a r d e n   (lab)

Copyright 2015-$YEAR, a stand-in for tests: nothing here runs Bitwarden
===================================================

EOF

if [ "$EUID" -eq 0 ]; then
    printf '\033[0;31mWARNING: This script is running as the root user.\033[0m\n'
    printf '\033[0;31mUse a user of its own for a Bitwarden installation.\033[0m\n'
    read -r -p "Do you still want to continue? (y/n): " ANSWER
    case "${ANSWER,,}" in
        y | yes) echo "Continuing...." ;;
        *) exit 1 ;;
    esac
fi

DIR="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
SELF="$DIR/$(basename "${BASH_SOURCE[0]}")"
OUTPUT="$DIR/bwdata"
if [ $# -eq 2 ]; then
    OUTPUT=$2
fi

if docker compose >/dev/null 2>&1; then
    COMPOSE="docker compose"
elif command -v docker-compose >/dev/null 2>&1; then
    COMPOSE="docker-compose"
    echo "docker compose not found, falling back to docker-compose."
else
    echo "Error: Neither 'docker compose' nor 'docker-compose' commands were found. Please install Docker Compose." >&2
    exit 1
fi

SCRIPTS_DIR="$OUTPUT/scripts"
SELF_URL="https://func.bitwarden.com/api/dl/?app=self-host&platform=linux"
RUN_URL="https://func.bitwarden.com/api/dl/?app=self-host&platform=linux&variant=run"

COREVERSION="2026.7.2"
WEBVERSION="2026.7.1"
KEYCONNECTORVERSION="2026.7.0"

echo "bitwarden.sh version $COREVERSION"
docker --version
$COMPOSE version
echo ""

download_self() {
    if curl -L -s -w "%{http_code}" -o "$SELF.1" "$SELF_URL" | grep -q "^20[0-9]"; then
        mv -f "$SELF.1" "$SELF"
        chmod u+x "$SELF"
    else
        rm -f "$SELF.1"
        return 1
    fi
}

download_run() {
    mkdir -p "$SCRIPTS_DIR"
    local file status
    file=$(mktemp)
    status=$(curl -L -s -w "%{http_code}" -o "$file" "$RUN_URL")
    if [[ ! $status =~ ^20[0-9] ]]; then
        echo "Unable to download run script from $RUN_URL. Received status code: $status"
        echo "http response:"
        cat "$file"
        rm -f "$file"
        exit 1
    fi
    mv -f "$file" "$SCRIPTS_DIR/run.sh"
    chmod u+x "$SCRIPTS_DIR/run.sh"
}

need_installation() {
    if [ ! -d "$OUTPUT" ]; then
        echo "Cannot find a Bitwarden installation at $OUTPUT."
        exit 1
    fi
}

need_no_installation() {
    if [ -d "$OUTPUT/docker" ]; then
        echo "Looks like Bitwarden is already installed at $OUTPUT."
        exit 1
    fi
}

# Without quotes, as in the real script: a blank in the path breaks it.
run() {
    # shellcheck disable=SC2086
    $SCRIPTS_DIR/run.sh "$1" $OUTPUT $COREVERSION $WEBVERSION $KEYCONNECTORVERSION
}

# Names in the archive are those from the folder that it is called in.
compress_logs() {
    local from=$1 to=$2 name="bitwarden-logs-all.tar.gz" logs="${OUTPUT#"$(pwd)"/}/logs" list
    if [ ! -d "$logs" ]; then
        echo "No logs at $logs."
        exit 1
    fi
    list=$(mktemp)
    if [ -n "$from" ]; then
        name="bitwarden-logs-$from-to-$to.tar.gz"
        find "$logs" -name '[0-9]*.txt' | while read -r path; do
            day=$(basename "$path" .txt)
            day=${day:0:8}
            if [[ ! $day < $from && ! $day > $to ]]; then echo "$path"; fi
        done >"$list"
    else
        find "$logs" -type f >"$list"
    fi
    tar -czf "$name" -T "$list"
    rm -f "$list"
    echo "Logs compressed into $(pwd)/$name."
}

list_commands() {
    cat <<EOF
Available commands:

install        set up a new installation
start          start, or start again with the settings of now
restart        the same as start
stop           stop all containers
update         get the newest images, rebuild and start
updatedb       bring the database up to date
updaterun      get the newest run.sh
updateself     get the newest bitwarden.sh
updateconf     rebuild with the newest setup image, leave stopped
rebuild        write the generated files anew, leave stopped
uninstall      remove everything
renewcert      renew the Let's Encrypt certificate
compresslogs   pack the logs, [FROM TO]
help           this list
EOF
}

case $1 in
    "install")
        need_no_installation
        mkdir -p "$OUTPUT"
        download_run
        run install
        ;;
    "start" | "restart")
        need_installation
        run restart
        ;;
    "update")
        need_installation
        download_run
        run update
        ;;
    "rebuild" | "updateconf" | "updatedb" | "stop" | "renewcert" | "uninstall")
        need_installation
        run "$1"
        ;;
    "updaterun")
        need_installation
        download_run
        ;;
    "updateself")
        download_self && echo "Updated self." && exit
        ;;
    "compresslogs")
        need_installation
        compress_logs "$2" "$3"
        ;;
    "help")
        list_commands
        ;;
    *)
        echo "No command found."
        echo
        list_commands
        ;;
esac
