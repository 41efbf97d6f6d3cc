#!/usr/bin/env bash
# The lab's stand-in for the script that does the work of bitwarden.sh: run.sh COMMAND OUTPUT CORE WEB KEYCONNECTOR.
set -e

OUTPUT_DIR="${2:-..}"
COREVERSION="${3:-latest}"
WEBVERSION="${4:-latest}"
KEYCONNECTORVERSION="${5:-latest}"

ENV_DIR="$OUTPUT_DIR/env"
DOCKER_DIR="$OUTPUT_DIR/docker"
SETUP_IMAGE="ghcr.io/bitwarden/setup:$COREVERSION"
OS="lin"

if docker compose >/dev/null 2>&1; then
    COMPOSE="docker compose"
else
    COMPOSE="docker-compose"
fi

# Every call makes sure that the containers know whose files these are.
ensure_uid_env() {
    local file="$ENV_DIR/uid.env" uid gid
    mkdir -p "$ENV_DIR"
    if [ -f "$file" ] && grep -q "LOCAL_UID=" "$file" && grep -q "LOCAL_GID=" "$file"; then
        return
    fi
    # Without quotes: with no USER these are the ids of the process.
    # shellcheck disable=SC2086
    uid=$(id -u $USER)
    # shellcheck disable=SC2086
    gid=$(id -g $USER)
    [ "$uid" = "0" ] && uid=65534
    [ "$gid" = "0" ] && gid=65534
    printf 'LOCAL_UID=%s\nLOCAL_GID=%s\n' "$uid" "$gid" >"$file"
}

compose_files() {
    export COMPOSE_FILE="$DOCKER_DIR/docker-compose.yml"
    if [ -f "$DOCKER_DIR/docker-compose.override.yml" ]; then
        COMPOSE_FILE="$COMPOSE_FILE:$DOCKER_DIR/docker-compose.override.yml"
    fi
    export COMPOSE_HTTP_TIMEOUT="300"
}

# The header is the first line, so one running container alone is not stopped.
compose_down() {
    compose_files
    if [ "$($COMPOSE ps | wc -l)" -gt 2 ]; then
        $COMPOSE down
    fi
}

compose_pull() {
    compose_files
    $COMPOSE pull
}

certbot() {
    docker pull certbot/certbot
    docker run -i --rm --name certbot -p 443:443 -p 80:80 -v "$OUTPUT_DIR/letsencrypt:/etc/letsencrypt/" \
        certbot/certbot "$@" --logs-dir /etc/letsencrypt/logs
}

update_certificate() {
    if [ -d "$OUTPUT_DIR/letsencrypt/live" ]; then
        certbot renew
    fi
}

force_certificate() {
    if [ -d "$OUTPUT_DIR/letsencrypt/live" ]; then
        certbot renew --force-renew
    fi
}

create_directory() {
    if [ ! -d "$OUTPUT_DIR/$1" ]; then
        echo "Creating directory $OUTPUT_DIR/$1"
        mkdir -p "$OUTPUT_DIR/$1"
    fi
}

compose_up() {
    local name
    compose_files
    for name in core core/attachments logs logs/admin logs/api logs/events logs/icons logs/identity logs/mssql \
        logs/nginx logs/notifications logs/sso mssql/backups mssql/data ca-certificates; do
        create_directory "$name"
    done
    $COMPOSE up -d
}

pull_setup() {
    docker pull "$SETUP_IMAGE"
}

setup() {
    docker run -i --rm --name setup -v "$OUTPUT_DIR:/bitwarden" --env-file "$ENV_DIR/uid.env" "$SETUP_IMAGE" \
        /app/Setup "$@" -os $OS -corev "$COREVERSION" -webv "$WEBVERSION" -keyconnectorv "$KEYCONNECTORVERSION"
}

print_environment() {
    pull_setup
    setup -printenv 1
}

restart() {
    compose_down
    compose_pull
    update_certificate
    compose_up
    print_environment
}

install() {
    local domain email database encrypt="n"
    printf '(!) Enter the domain name for your Bitwarden instance (ex. bitwarden.example.com): '
    read -r domain
    echo ""
    [ -n "$domain" ] || domain="localhost"
    if [ "$domain" != "localhost" ]; then
        printf "(!) Do you want to use Let's Encrypt to generate a free SSL certificate? (y/n): "
        read -r encrypt
        echo ""
        if [ "$encrypt" = "y" ]; then
            printf "(!) Enter your email address (Let's Encrypt will send you certificate expiration reminders): "
            read -r email
            echo ""
        fi
    fi
    printf '(!) Enter the database name for your Bitwarden instance (ex. vault): '
    read -r database
    echo ""
    [ -n "$database" ] || database="vault"
    if [ "$encrypt" = "y" ]; then
        mkdir -p "$OUTPUT_DIR/letsencrypt"
        certbot certonly --standalone --noninteractive --agree-tos --preferred-challenges http \
            --email "$email" -d "$domain"
    fi
    pull_setup
    docker run -it --rm --name setup -v "$OUTPUT_DIR:/bitwarden" --env-file "$ENV_DIR/uid.env" "$SETUP_IMAGE" \
        /app/Setup -install 1 -domain "$domain" -letsencrypt "$encrypt" -os $OS -corev "$COREVERSION" \
        -webv "$WEBVERSION" -dbname "$database" -keyconnectorv "$KEYCONNECTORVERSION"
}

# The tags of what runs; nothing runs: nothing is equal, and the update goes on.
newest_runs() {
    compose_files
    local core web
    core=$($COMPOSE ps -q admin)
    web=$($COMPOSE ps -q web)
    # shellcheck disable=SC2086
    core=$(docker inspect --format='{{.Config.Image}}:' $core)
    # shellcheck disable=SC2086
    web=$(docker inspect --format='{{.Config.Image}}:' $web)
    [[ "$core" == *":$COREVERSION:" && "$web" == *":$WEBVERSION:" ]]
}

update_database() {
    local network=()
    pull_setup
    if grep -q 'Data Source=tcp:mssql,1433' "$ENV_DIR/global.override.env"; then
        compose_files
        network=(--network "container:$($COMPOSE ps -q mssql)")
    fi
    docker run -i --rm --name setup "${network[@]}" -v "$OUTPUT_DIR:/bitwarden" --env-file "$ENV_DIR/uid.env" \
        "$SETUP_IMAGE" /app/Setup -update 1 -db 1 -os $OS -corev "$COREVERSION" -webv "$WEBVERSION" \
        -keyconnectorv "$KEYCONNECTORVERSION"
    echo "Database update complete"
}

update() {
    if newest_runs; then
        echo "Update not needed"
        exit
    fi
    compose_down
    pull_setup
    setup -update 1
    restart
    docker image prune --all --force --filter="label=com.bitwarden.product=bitwarden"
    if ! grep -q '^enable_built_in_ms_sql: false' "$OUTPUT_DIR/config.yml"; then
        echo "Pausing 60 seconds for database to come online. Please wait..."
        sleep 60
    fi
    update_database
}

ask() {
    local answer
    read -r -p "$1 (y/n): " answer
    [ "${answer,,}" = "y" ]
}

uninstall() {
    if ask "(!) WARNING: UNINSTALL WILL REMOVE ALL OF BITWARDEN. Would you like to save a copy of the database?"; then
        tar -czf "./bitwarden-database-$(date +%Y%m%d).tar.gz" -C "$OUTPUT_DIR" mssql/data
    fi
    ask "(!) Are you sure you want to uninstall Bitwarden?" || { echo "Exiting uninstall."; exit 1; }
    compose_down
    rm -R "$OUTPUT_DIR"
    docker volume prune --force --filter="label=com.bitwarden.product=bitwarden"
    if ask "(!) Would you like to purge all local Bitwarden container images?"; then
        docker image prune --all --force --filter="label=com.bitwarden.product=bitwarden"
    fi
    exit 0
}

ensure_uid_env

case "$1" in
    "install") install ;;
    "start" | "restart") restart ;;
    "pull") compose_pull ;;
    "stop") compose_down ;;
    "renewcert")
        compose_down
        compose_pull
        force_certificate
        compose_up
        print_environment
        ;;
    "updateconf")
        compose_down
        pull_setup
        setup -update 1
        ;;
    "rebuild")
        compose_down
        setup -update 1
        ;;
    "updatedb") update_database ;;
    "update") update ;;
    "uninstall") uninstall ;;
esac
