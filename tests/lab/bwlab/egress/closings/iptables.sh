# A script of the network team and its unit, as a host without iptables-persistent has them.
cat >/usr/local/sbin/company-firewall <<END
#!/bin/sh
# Own chains, filled anew; the jumps are put first, since Docker puts its rules first when it starts.
set -e
for tool in iptables ip6tables; do
    \$tool -w -N DOCKER-USER 2>/dev/null || true
    for chain in OUT FORWARD; do
        \$tool -w -N "COMPANY-\$chain" 2>/dev/null || \$tool -w -F "COMPANY-\$chain"
        \$tool -w -A "COMPANY-\$chain" -m conntrack --ctstate ESTABLISHED,RELATED -j RETURN
    done
    \$tool -w -A COMPANY-OUT -o lo -j RETURN
    \$tool -w -A COMPANY-OUT -o docker0 -j RETURN
    \$tool -w -A COMPANY-OUT -o br-+ -j RETURN
done
for protocol in tcp udp; do
    for chain in OUT FORWARD; do
        iptables -w -A "COMPANY-\$chain" -d $RESOLVER -p \$protocol --dport 53 -m comment --comment "name server" -j RETURN
    done
done
ip6tables -w -A COMPANY-OUT -p ipv6-icmp -j RETURN
for tool in iptables ip6tables; do
    \$tool -w -A COMPANY-OUT -j DROP
    for bridge in docker0 br-+; do
        \$tool -w -A COMPANY-FORWARD -i \$bridge -j DROP
    done
    \$tool -w -C OUTPUT -j COMPANY-OUT 2>/dev/null || \$tool -w -A OUTPUT -j COMPANY-OUT
    \$tool -w -C DOCKER-USER -j COMPANY-FORWARD 2>/dev/null || \$tool -w -I DOCKER-USER -j COMPANY-FORWARD
done
END
chmod 0755 /usr/local/sbin/company-firewall
cat >/etc/systemd/system/company-firewall.service <<END
[Unit]
Description=Rules of the network team
After=network-pre.target
Before=network-online.target docker.service

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/local/sbin/company-firewall

[Install]
WantedBy=multi-user.target
END
systemctl daemon-reload
systemctl enable --now company-firewall.service
