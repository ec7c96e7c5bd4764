import { NetworkNamespace } from '../../test/system/network-namespace.ts';

/** One command per line; nft(8) runs them. */
const NFTABLES = `
add table inet filter
add set inet filter trusted { type ipv4_addr; flags interval; elements = { 10.0.0.0/8, 192.0.2.7, 198.51.100.1-198.51.100.9 }; }
add set inet filter banned { type ipv4_addr; flags dynamic,timeout; timeout 1h; elements = { 203.0.113.1 timeout 30m comment "ssh" }; }
add set inet filter pairs { type ipv4_addr . inet_service; elements = { 10.0.0.1 . 22, 10.0.0.2 . 80 }; }
add set inet filter many { type inet_service; elements = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17 }; }
add chain inet filter lan
add chain inet filter shared
add chain inet filter unused
add map inet filter dispatch { type ifname : verdict; elements = { "lo" : accept, "eth0" : jump lan }; }
add counter inet filter ssh
add limit inet filter slow { rate 5/second; }
add quota inet filter month { over 100 mbytes; }
add synproxy inet filter proxy { mss 1460; wscale 7; timestamp sack-perm; }
add chain inet filter input { type filter hook input priority filter; policy drop; }
add chain inet filter forward { type filter hook forward priority filter + 10; policy accept; }
add chain inet filter output { type route hook output priority mangle; policy accept; }
add rule inet filter lan tcp dport 443 accept
add rule inet filter shared accept
add rule inet filter unused drop
add rule inet filter input ct state established,related accept
add rule inet filter input ct state { new, invalid } accept
add rule inet filter input ct state != invalid accept
add rule inet filter input ct status dnat accept
add rule inet filter input ct direction original accept
add rule inet filter input ct mark 0x10 accept
add rule inet filter input ct mark and 0xff == 0x10 accept
add rule inet filter input ct original ip saddr 10.0.0.1 accept
add rule inet filter input ct original bytes > 100000 accept
add rule inet filter input ct expiration > 10s accept
add rule inet filter input ct label 5 accept
add rule inet filter input ct zone 5 accept
add rule inet filter input ct count over 10 drop
add rule inet filter input iif lo accept
add rule inet filter input iifname "eth*" accept
add rule inet filter input iifname { "eth0", "eth1" } accept
add rule inet filter input iifname != "eth0" accept
add rule inet filter input meta l4proto { tcp, udp } th dport 53 accept
add rule inet filter input meta l4proto != { tcp, udp } accept
add rule inet filter input meta l4proto icmp accept
add rule inet filter input meta l4proto ipv6-icmp accept
add rule inet filter input meta l4proto 47 accept
add rule inet filter input meta l4proto 200 accept
add rule inet filter input meta nfproto ipv4 accept
add rule inet filter input meta mark 0x1 accept
add rule inet filter input meta mark != 0x5 accept
add rule inet filter input meta mark & 0xff == 1 accept
add rule inet filter input meta skuid 1000 accept
add rule inet filter input meta pkttype multicast accept
add rule inet filter input meta cgroup 5 accept
add rule inet filter input meta hour "09:00"-"17:00" accept
add rule inet filter input meta day { "Monday", "Tuesday" } accept
add rule inet filter input meta length > 100 accept
add rule inet filter input meta priority 1:2 accept
add rule inet filter input ip protocol tcp accept
add rule inet filter input ip protocol != tcp accept
add rule inet filter input ip saddr 10.0.0.1 accept
add rule inet filter input ip saddr 10.0.0.0/8 ip daddr 192.0.2.1 tcp sport 1024-65535 tcp dport 22 accept
add rule inet filter input ip saddr 10.0.0.1-10.0.0.9 drop
add rule inet filter input ip saddr { 10.0.0.1, 10.1.0.0/16, 10.2.0.1-10.2.0.5 } drop
add rule inet filter input ip saddr != { 10.0.0.1, 10.0.0.2 } drop
add rule inet filter input ip saddr 10.0.0.0/8 ip saddr != 10.1.0.0/16 accept
add rule inet filter input ip saddr @trusted accept
add rule inet filter input ip saddr != @banned accept
add rule inet filter input tcp dport @many accept
add rule inet filter input ip saddr & 255.0.255.0 == 10.0.1.0 accept
add rule inet filter input ip saddr . tcp dport @pairs accept
add rule inet filter input ip saddr . tcp dport { 10.0.0.1 . 22, 10.0.0.2 . 80-90 } accept
add rule inet filter input ip saddr . ip daddr vmap { 10.0.0.1 . 10.0.0.2 : accept }
add rule inet filter input ip daddr vmap { 10.0.0.1 : accept, * : drop }
add rule inet filter input ip daddr { 10.0.0.1, * } accept
add rule inet filter input ip dscp cs1 accept
add rule inet filter input ip ttl < 5 drop
add rule inet filter input ip frag-off & 0x1fff != 0 drop
add rule inet filter input ip length 100-200 accept
add rule inet filter input ip option lsrr exists drop
add rule inet filter input ip6 saddr 2001:db8::/32 tcp dport != 22 drop
add rule inet filter input ip6 nexthdr ipv6-icmp accept
add rule inet filter input exthdr frag exists drop
add rule inet filter input rt type 0 drop
add rule inet filter input tcp dport { 22, 80, 8000-8100 } accept
add rule inet filter input tcp dport > 1024 accept
add rule inet filter input tcp dport <= 1024 accept
add rule inet filter input tcp dport vmap { 22 : accept, 80 : jump lan, 443 : drop }
add rule inet filter input tcp dport vmap { 22 : accept, 80 : accept }
add rule inet filter input iifname vmap @dispatch
add rule inet filter input tcp flags syn accept
add rule inet filter input tcp flags ! syn accept
add rule inet filter input tcp flags != syn accept
add rule inet filter input tcp flags { syn, ack } accept
add rule inet filter input tcp flags & (fin|syn|rst|ack) == syn accept
add rule inet filter input tcp flags & (fin|syn) == fin|syn drop
add rule inet filter input tcp option maxseg size 1400 accept
add rule inet filter input tcp option sack-perm exists accept
add rule inet filter input udp dport 53 udp length 100 accept
add rule inet filter input sctp dport 5000 accept
add rule inet filter input sctp chunk data exists accept
add rule inet filter input dccp dport 33 accept
add rule inet filter input udplite dport 44 accept
add rule inet filter input th dport 55 accept
add rule inet filter input ah spi 5 accept
add rule inet filter input comp cpi 7 accept
add rule inet filter input icmp type echo-request limit rate 1/second burst 5 packets accept
add rule inet filter input icmpv6 type { nd-neighbor-solicit, nd-router-advert } accept
add rule inet filter input igmp type membership-query accept
add rule inet filter input @nh,0,8 0x45 accept
add rule inet filter input ether saddr 00:11:22:33:44:55 accept
add rule inet filter input vlan id 5 accept
add rule inet filter input fib saddr . iif oif missing drop
add rule inet filter input fib daddr type { local, broadcast } accept
add rule inet filter input rt classid 5 accept
add rule inet filter input socket transparent 1 accept
add rule inet filter input osf name "Linux" accept
add rule inet filter input numgen inc mod 2 0 accept
add rule inet filter input jhash ip saddr mod 2 == 0 accept
add rule inet filter input limit rate over 10/minute drop
add rule inet filter input limit rate 10 mbytes/second accept
add rule inet filter input limit name "slow" accept
add rule inet filter input quota over 10 mbytes drop
add rule inet filter input quota name "month" drop
add rule inet filter input counter name "ssh" accept
add rule inet filter input counter
add rule inet filter input log prefix "in: " flags all
add rule inet filter input log group 5 queue-threshold 3 snaplen 64 prefix "nf"
add rule inet filter input tcp dport 22 log accept comment "all: good \\\\ it's fine"
add rule inet filter input notrack
add rule inet filter input meta mark set 0x5
add rule inet filter input ct mark set ct mark | 0x10
add rule inet filter input meta mark set ip dscp map { cs1 : 1, cs2 : 2 }
add rule inet filter input ip dscp set cs1
add rule inet filter input reset tcp option maxseg
add rule inet filter input add @banned { ip saddr timeout 10m }
add rule inet filter input update @banned { ip saddr limit rate 10/second } drop
add rule inet filter input reject
add rule inet filter input reject with tcp reset
add rule inet filter input reject with icmp host-unreachable
add rule inet filter input synproxy mss 1460 wscale 7 timestamp sack-perm
add rule inet filter input synproxy name "proxy"
add rule inet filter input jump shared
add rule inet filter input tcp dport 5 goto lan
add rule inet filter input return
add rule inet filter input continue
add rule inet filter forward meta nfproto . ct state vmap { ipv4 . new : drop }
add rule inet filter forward goto shared
add rule inet filter output oifname "eth0" meta skgid 5 accept
add table ip nat
add map ip nat inside { type inet_service : ipv4_addr . inet_service; elements = { 80 : 10.0.0.1 . 8080 }; }
add chain ip nat prerouting { type nat hook prerouting priority dstnat; policy accept; }
add chain ip nat postrouting { type nat hook postrouting priority srcnat; policy accept; }
add rule ip nat prerouting dnat to 10.0.0.1
add rule ip nat prerouting tcp dport 80 dnat to 10.0.0.1-10.0.0.5:8080-8090 random,persistent
add rule ip nat prerouting dnat to tcp dport map { 80 : 10.0.0.1, 443 : 10.0.0.2 }
add rule ip nat prerouting dnat ip to tcp dport map @inside
add rule ip nat prerouting dnat prefix to ip daddr map { 10.0.0.0/24 : 192.168.0.0/24 }
add rule ip nat prerouting tcp dport 80 redirect to :3128
add rule ip nat postrouting tcp dport 1-5 masquerade to :1024-65535 fully-random
add rule ip nat postrouting snat to 192.0.2.1
add table ip mangle
add chain ip mangle prerouting { type filter hook prerouting priority mangle; }
add rule ip mangle prerouting tcp dport 80 tproxy to 127.0.0.1:3128 accept
add rule ip mangle prerouting ip protocol udp tproxy to :53
add rule ip mangle prerouting dup to 10.0.0.1 device "lo"
add table ip asleep { flags dormant; }
add chain ip asleep input { type filter hook input priority 0; }
add rule ip asleep input drop
add table ip alsoasleep { flags persist, dormant; }
add table bridge switch
add chain bridge switch input { type filter hook input priority 0; }
add rule bridge switch input ether daddr 00:11:22:33:44:55 ip saddr 10.0.0.1 tcp dport 22 drop
add rule bridge switch input ether saddr & ff:ff:00:00:00:00 == 00:11:00:00:00:00 accept
add table arp neighbours
add chain arp neighbours input { type filter hook input priority 0; }
add rule arp neighbours input arp operation request arp saddr ip 10.0.0.1 drop
add table netdev early
add chain netdev early ingress { type filter hook ingress device "lo" priority 0; policy drop; }
add rule netdev early ingress ip saddr 10.0.0.1 fwd to "lo"
add table ip6 six
add chain ip6 six input { type filter hook input priority 0; }
add rule ip6 six input ip6 saddr fe80::/10 ip6 daddr { ::1, 2001:db8::1-2001:db8::ff } accept
add rule ip6 six input ip6 saddr & ffff::ff == 2001::1 accept
add rule ip6 six input mh type 1 accept
add rule ip6 six input iif "lo" ip6 daddr ::1 tcp dport 22 accept
add rule ip6 six input ipsec in ip6 daddr ::1 accept
add table ip6 nat6
add chain ip6 nat6 prerouting { type nat hook prerouting priority dstnat; }
add rule ip6 nat6 prerouting tcp dport 80 dnat to [2001:db8::1]:8080
`;

/** As iptables-restore(8) takes them. */
const IPTABLES = `
*raw
-A PREROUTING -j CT --notrack
COMMIT
*mangle
-A PREROUTING -j MARK --set-xmark 0x1/0xff
-A PREROUTING -j CONNMARK --save-mark
-A PREROUTING -p tcp -j TPROXY --on-port 5 --tproxy-mark 1
-A FORWARD -p tcp --syn -j TCPMSS --clamp-mss-to-pmtu
COMMIT
*nat
-A PREROUTING -p tcp --dport 80 -j DNAT --to-destination 10.0.0.1:8080
-A PREROUTING -p tcp --dport 80 -j REDIRECT --to-ports 3128
-A POSTROUTING -o eth0 -j MASQUERADE --random
-A POSTROUTING -o eth0 -j SNAT --to-source 192.0.2.1-192.0.2.5
COMMIT
*filter
:INPUT DROP [0:0]
:WEB - [0:0]
:UNUSED - [0:0]
-A INPUT -i lo -j ACCEPT
-A INPUT ! -i eth0 -j ACCEPT
-A INPUT -i eth+ -s 10.0.0.0/8 ! -d 192.0.2.1 -p tcp --sport 1024: --dport 22 -j ACCEPT
-A INPUT -p tcp -m tcp ! --dport 22 --syn -j DROP
-A INPUT -p tcp --tcp-flags ALL NONE -j DROP
-A INPUT -p tcp --tcp-option 5 -j DROP
-A INPUT -p udp -m multiport ! --dports 53,67:68 -j ACCEPT
-A INPUT -p tcp -m multiport --ports 53,67:68 -j ACCEPT
-A INPUT -m iprange --src-range 10.0.0.1-10.0.0.9 ! --dst-range 10.1.0.1-10.1.0.9 -j ACCEPT
-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED --ctproto tcp -j ACCEPT
-A INPUT -m conntrack ! --ctstate INVALID -j ACCEPT
-A INPUT -m state --state NEW -j ACCEPT
-A INPUT -m limit --limit 3/min --limit-burst 10 -j LOG --log-prefix "in: x" --log-tcp-options
-A INPUT -m hashlimit --hashlimit-name ssh --hashlimit-upto 5/min --hashlimit-mode srcip -j ACCEPT
-A INPUT -m recent --name bad --rcheck --seconds 60 -j DROP
-A INPUT -m mark --mark 0x1/0xff -j ACCEPT
-A INPUT -m mark ! --mark 0x1 -j ACCEPT
-A INPUT -m connmark --mark 5 -j ACCEPT
-A INPUT -p icmp --icmp-type echo-request -j ACCEPT
-A INPUT -p icmp ! --icmp-type 3/1 -j ACCEPT
-A INPUT -p 47 -j ACCEPT
-A INPUT -p 200 -j ACCEPT
-A INPUT -p esp -m esp --espspi 5 -j ACCEPT
-A INPUT ! -p tcp -j ACCEPT
-A INPUT -s 10.0.1.0/255.0.255.0 -j ACCEPT
-A INPUT -f -j DROP
-A INPUT ! -f -j DROP
-A INPUT -m mac --mac-source 00:11:22:33:44:55 -j ACCEPT
-A INPUT -m addrtype --dst-type LOCAL,BROADCAST -j ACCEPT
-A INPUT -m pkttype --pkt-type multicast -j ACCEPT
-A INPUT -m length --length 100:200 -j ACCEPT
-A INPUT -m ttl --ttl-lt 5 -j DROP
-A INPUT -m string --string "a \\"b\\" c" --algo bm -j DROP
-A INPUT -m string --hex-string "|0d0a|x" --algo kmp --icase -j DROP
-A INPUT -m time --timestart 09:00 --timestop 17:00 --weekdays Mon,Tue -j ACCEPT
-A INPUT -m comment --comment "it's a \\"test\\" \\\\ é" -j ACCEPT
-A INPUT -m comment --comment "" -j ACCEPT
-A INPUT -m comment --comment -j -j ACCEPT
-A INPUT -m comment --comment "-j DROP" -j ACCEPT
-A INPUT -m statistic --mode random --probability 0.5 -j ACCEPT
-A INPUT -m connlimit --connlimit-above 5 -j DROP
-A INPUT -m connbytes --connbytes 100:200 --connbytes-dir both --connbytes-mode bytes -j ACCEPT
-A INPUT -m u32 --u32 "0&0xff=5" -j ACCEPT
-A INPUT -m socket -j ACCEPT
-A INPUT -m socket --transparent -j ACCEPT
-A INPUT -m dscp --dscp 10 -j ACCEPT
-A INPUT -m tos --tos 0x10 -j ACCEPT
-A INPUT -m physdev --physdev-in eth0 -j ACCEPT
-A INPUT -m policy --dir in --pol ipsec -j ACCEPT
-A INPUT -m helper --helper ftp -j ACCEPT
-A INPUT -m bpf --bytecode "1,6 0 0 1" -j ACCEPT
-A INPUT -p sctp --dport 5 -m sctp --chunk-types any DATA -j ACCEPT
-A INPUT -p dccp --dport 5 -j ACCEPT
-A INPUT -p ah -m ah --ahspi 5 -j ACCEPT
-A INPUT -j REJECT
-A INPUT -p tcp -j REJECT --reject-with tcp-reset
-A INPUT -j WEB
-A INPUT -g WEB
-A INPUT -j RETURN
-A INPUT
-A INPUT -j NFLOG --nflog-prefix "x y" --nflog-group 5
-A INPUT -j NFQUEUE --queue-num 3 --queue-bypass
-A OUTPUT -m owner --uid-owner 1000 -j ACCEPT
-A OUTPUT -m owner ! --gid-owner 1000 -j ACCEPT
-A WEB -p tcp --dport 80 -j ACCEPT
-A UNUSED -j DROP
COMMIT
`;

const IP6TABLES = `
*mangle
-A PREROUTING -j HL --hl-set 64
COMMIT
*filter
:FORWARD DROP [0:0]
-A INPUT -p icmpv6 --icmpv6-type 135 -j ACCEPT
-A INPUT -s fe80::/10 -m hl --hl-eq 255 -j ACCEPT
-A INPUT -s 2001:db8::1 -p tcp -m multiport --dports 22,80 -m rt --rt-type 0 -j ACCEPT
-A INPUT -m frag --fragmore -j ACCEPT
-A INPUT -m eui64 -j ACCEPT
-A INPUT -m ipv6header --header dst --soft -j ACCEPT
-A INPUT -p ipv6-mh -m mh --mh-type 1 -j ACCEPT
-A INPUT -j REJECT
COMMIT
`;

/** Removes lines with dates. */
const undated = (saved: string) => saved.replace(/^# (Generated|Completed)( by .*)? on .*\n/gm, '# $1$2\n');

function inNamespace(capture: (namespace: NetworkNamespace) => void): void {
  const namespace = new NetworkNamespace();
  try {
    capture(namespace);
  } finally {
    namespace.remove();
  }
}

/**
 * The output of nft and iptables for all kinds of rules. The rules are created in new network namespaces, so that the
 * machine's rules are not changed.
 *
 * @throws Error if the kernel or a tool rejects a rule
 */
export function captureFirewall({ write }: { write: (file: string, contents: string) => void }): void {
  inNamespace((namespace) => {
    for (const line of NFTABLES.trim().split('\n')) namespace.run('nft', [line]);
    write('firewall-nft.json', namespace.run('nft', ['-j', 'list', 'ruleset']));
  });
  for (const kind of ['legacy', 'nft']) {
    inNamespace((namespace) => {
      namespace.run(`iptables-${kind}-restore`, [], IPTABLES);
      namespace.run(`ip6tables-${kind}-restore`, [], IP6TABLES);
      // iptables-restore can't read what iptables-save writes of this.
      namespace.run(`iptables-${kind}`, ['-A', 'INPUT', '-m', 'comment', '--comment', 'two\n-A lines', '-j', 'ACCEPT']);
      for (const tool of ['iptables', 'ip6tables']) {
        write(`firewall-${tool}-${kind}-save.txt`, undated(namespace.run(`${tool}-${kind}-save`)));
      }
      if (kind === 'nft') write('firewall-iptables-nft.json', namespace.run('nft', ['-j', 'list', 'ruleset']));
    });
  }
}
