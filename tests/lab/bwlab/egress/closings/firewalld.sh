# Two policies of the network team: nothing starts here, nothing comes out of Docker's networks.
systemctl unmask firewalld.service
systemctl enable --now firewalld.service
# Docker makes a zone of firewalld's for its networks, but only when it starts while that runs.
systemctl restart docker.service
cmd() { firewall-cmd --quiet --permanent "$@"; }
cmd --zone=public --add-service=ssh
cmd --zone=public --add-port=443/tcp
for name in company-out company-docker; do
    cmd --new-policy="$name"
    cmd --policy="$name" --set-target=DROP
    cmd --policy="$name" --set-priority=-100
    cmd --policy="$name" --add-egress-zone=ANY
    for protocol in udp tcp; do
        cmd --policy="$name" \
            --add-rich-rule="rule family=ipv4 destination address=$RESOLVER port port=53 protocol=$protocol accept"
    done
done
cmd --policy=company-out --add-ingress-zone=HOST
cmd --policy=company-out --add-rich-rule='rule family=ipv4 destination address=172.30.0.0/16 accept'
# A host that drops the questions for its neighbors has no IPv6 at all, whatever else is open.
for kind in neighbour-solicitation neighbour-advertisement; do
    cmd --policy=company-out --add-rich-rule="rule family=ipv6 icmp-type name=$kind accept"
done
cmd --policy=company-docker --add-ingress-zone=docker
firewall-cmd --quiet --reload
