# A company's own table: everything that starts here or passes is dropped, but for its name server.
cat >/etc/nftables.conf <<END
#!/usr/sbin/nft -f
# Managed by the network team. The table is replaced as a whole, others are left alone.
table inet company
delete table inet company
table inet company {
	# people from the office
	set office {
		type ipv4_addr
		flags interval
		elements = { 10.0.0.0/8 }
	}
	chain input {
		type filter hook input priority filter; policy drop;
		ct state established,related accept
		iifname { "lo", "docker0" } accept
		iifname "br-*" accept
		meta l4proto { icmp, ipv6-icmp } accept
		ip saddr @office tcp dport { 22, 443 } counter accept comment "office"
	}
	chain output {
		type filter hook output priority filter; policy drop;
		oifname "lo" accept
		oifname { "docker0", "br-*" } accept
		ct state established,related accept
		meta l4proto ipv6-icmp accept
		ip daddr $RESOLVER meta l4proto { tcp, udp } th dport 53 accept comment "name server"
		counter comment "dropped from here"
	}
	chain forward {
		type filter hook forward priority filter; policy drop;
		ct state established,related accept
		iifname != { "docker0", "br-*" } accept comment "published ports"
		ip daddr $RESOLVER meta l4proto { tcp, udp } th dport 53 accept comment "name server"
	}
}
END
systemctl enable --now nftables.service
