# ufw sees containers only where Docker asks it: the way that is known to work is a chain of its own in DOCKER-USER.
hook() {
    cat <<END

# Managed by the network team: ufw's route rules decide about Docker's containers as well.
*filter
:$1-user-forward - [0:0]
:DOCKER-USER - [0:0]
-A DOCKER-USER -m conntrack --ctstate RELATED,ESTABLISHED -j RETURN
-A DOCKER-USER -j $1-user-forward
-A DOCKER-USER -i br-+ -j DROP
-A DOCKER-USER -i docker0 -j DROP
-A DOCKER-USER -j RETURN
COMMIT
END
}
hook ufw >>/etc/ufw/after.rules
hook ufw6 >>/etc/ufw/after6.rules
# Docker had its own last rule there already.
for tool in iptables ip6tables; do
    $tool -w -F DOCKER-USER
done
ufw default deny incoming
ufw default deny outgoing
ufw default deny routed
ufw allow in proto tcp from 10.0.0.0/8 to any port 22 comment 'office'
ufw allow out proto udp to "$RESOLVER" port 53 comment 'name server'
ufw allow out proto tcp to "$RESOLVER" port 53 comment 'name server'
ufw route allow proto udp to "$RESOLVER" port 53 comment 'name server'
ufw allow out on docker0
for bridge in $(ip -o link show type bridge | sed -n 's/^[0-9]*: \(br-[0-9a-f]*\).*/\1/p'); do
    ufw allow out on "$bridge"
done
ufw --force enable
systemctl enable ufw.service
