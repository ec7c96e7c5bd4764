import assert from 'node:assert/strict';
import { WRAPPERS } from '../../../../src/agent/detections/views/wrappers.ts';
import { assertView, script, start, withoutWords } from './samples.ts';

/** Wrappers with options as in their manual pages, each followed by a command whose words are separate arguments. */
const BEFORE_COMMANDS = [
  'sudo -u www -g adm -D /tmp A=b',
  'sudo --user www --chdir /tmp',
  'doas -C /etc/doas.conf -u www',
  'pkexec --user www',
  'runuser -u www',
  'runuser --user www -g adm',
  'gosu www',
  'su-exec www',
  'setpriv --reuid 33 --regid 33 --clear-groups',
  'env -i -u HOME -C /tmp A=b',
  'env --unset HOME --chdir /tmp',
  'nohup',
  'setsid -w',
  'timeout -k 5 -s KILL 10',
  'timeout --kill-after 5 --signal KILL 10',
  'nice -n 5',
  'nice --adjustment 5',
  'ionice -c 3 -n 7',
  'ionice --class 3 --classdata 7',
  'chrt -f 10',
  'chrt --sched-runtime 100 --sched-period 1000 --sched-deadline 500 -d 0',
  'chrt -d -T 100 -P 1000 -D 500 0',
  'taskset 0x1',
  'taskset -c 0,1',
  'numactl -m 0 -N 0 --preferred 1',
  'cpulimit -l 10',
  'cpulimit --limit 10',
  'prlimit --nofile=64',
  'stdbuf -o L --input 0',
  'unbuffer -p',
  'time -f %e -o /tmp/t',
  'time --format %e --output /tmp/t',
  'xargs -n 1 -P 4 -I {}',
  'xargs --max-args 1 --max-procs 4',
  'parallel -j 4 --joblog /tmp/log',
  'chroot /mnt',
  'chroot --userspec 0:0 /mnt',
  'unshare -R /mnt -m',
  'unshare --root /mnt --map-user 0',
  'nsenter -t 1 -m',
  'nsenter --target 1 --mount',
  'bwrap --ro-bind / / --chdir /tmp --',
  'firejail --quiet',
  'fakeroot -l /tmp/lib.so',
  'fakeroot --lib /tmp/lib.so --faked /tmp/faked',
  'faketime 2020-01-01',
  'faketime -f +1d',
  'faketime -m 2020-01-01',
  'faketime --date-prog /bin/date 2020-01-01',
  'strace -f -o /tmp/t -e trace=network',
  'strace --output /tmp/t --trace network --user www',
  'ltrace -o /tmp/t',
  'ltrace --output /tmp/t',
  'valgrind --tool=none',
  'perf stat -e cycles',
  'rlwrap -f /tmp/words',
  'rlwrap -c -a -H /tmp/history',
  'setarch x86_64 -R',
  'linux32 -R',
  'linux64 -R',
  'multitime -n 5',
  'logsave /tmp/log',
  'cgexec -g cpu:low',
  'dtach -n /tmp/socket',
  'catchsegv',
  'flock -w 5 /tmp/lock',
  'flock --timeout 5 /tmp/lock',
  'setlock -n /tmp/lock',
  'watch -n 5',
  'watch --interval 5',
  'entr -r',
  'systemd-run --unit x -p Nice=1 --working-directory /tmp',
  'systemd-nspawn -D /mnt',
  'systemd-nspawn --directory /mnt --user www',
  'systemd-inhibit --what sleep --why x',
  'systemd-cat -t x',
  'systemd-cat --identifier x --priority info',
  'machinectl shell root@.host',
  'dbus-run-session --config-file /tmp/c',
  'dbus-launch --exit-with-session',
  'tini -p SIGTERM --',
  'docker-init --',
  'dumb-init --',
  'chpst -u www -e /tmp/env',
  'chpst -P',
  'softlimit -m 1000000',
  's6-setuidgid www',
  'setuidgid www',
  'daemonize -p /run/x.pid -u www',
  'proxychains -q -f /tmp/c',
  'proxychains4 -f /tmp/c',
  'torsocks --port 9050',
  'torsocks -a 127.0.0.1 -P 9050',
  'torify',
  'tsocks',
  'ssh -p 22 -l root host',
  'slogin -p 22 host',
  'dbclient -p 22 host',
  'sshpass -p secret',
  'autossh -M 0 -p 22 host',
  'rsh -l root host',
  'kubectl exec pod --',
  'oc exec pod --',
  'k3s kubectl exec pod --',
  'crictl exec -it container',
  'lxc exec container --',
  'lxc-attach -n container --',
  'lxc-execute -n container --',
  'screen -dm -S name',
  'exec -a name',
  'command -p',
  'builtin',
  'chronic -e',
  'run-one',
  'ip netns exec blue',
  'ld-linux-x86-64.so.2 --preload /tmp/x.so',
  '/lib/ld-musl-armhf.so.1 --library-path /tmp',
  '/lib64/ld64.so.2',
  '/usr/bin/ld.so',
];

/** Wrappers followed by a whole command in one argument. */
const BEFORE_SCRIPTS = [
  'su www -c',
  'su --command',
  'su --session-command',
  'runuser www -s /bin/sh -c',
  'capsh --print -- -c',
  'env -S',
  'env --split-string',
  'flock /tmp/lock -c',
  'flock /tmp/lock --command',
  'script -q -c',
  'script /tmp/log --command',
  'watch -n 5',
  'ssh host',
  'parallel -j 4',
];

const COMMAND = 'nc -l 1';
const VIEW = '/usr/bin/nc | nc -l 1';

describe('the table of wrappers', () => {
  for (const wrapper of BEFORE_COMMANDS)
    it(`finds the command after \`${wrapper}\``, () => {
      const wrapped = start(`${wrapper} ${COMMAND}`);
      assertView(wrapped, VIEW);
      assertView(withoutWords(wrapped), VIEW);
    });

  for (const wrapper of BEFORE_SCRIPTS)
    it(`finds the command in one argument after \`${wrapper}\``, () => {
      const wrapped = start(`${wrapper} ${COMMAND}`);
      assertView({ ...wrapped, argv: [...wrapper.split(' '), COMMAND] }, VIEW);
      assertView(withoutWords(wrapped), VIEW);
    });

  for (const line of [
    'start-stop-daemon --start --pidfile /run/x.pid --chuid www --exec nc -- -l 1',
    'start-stop-daemon -S -p /run/x.pid -c www -x nc -- -l 1',
    'start-stop-daemon -S -b --startas nc -- -l 1',
    'start-stop-daemon -S -b -a nc -- -l 1',
  ])
    it(`combines the program and the arguments of \`${line}\``, () => assertView(start(line), VIEW));

  for (const option of ['env -S', 'env --split-string=', 'su www -c', 'su --command=', 'flock /tmp/lock --command='])
    it(`finds the command glued to \`${option}\``, () => {
      const words = `${option}${COMMAND}`.split(' ');
      const argv = [
        ...words.slice(0, option.split(' ').length - 1),
        words.slice(option.split(' ').length - 1).join(' '),
      ];
      assertView({ executable: `/usr/bin/${argv[0]}`, commandLine: argv.join(' '), argv }, VIEW);
    });

  for (const wrapper of ['watch -n 5', 'ssh host', 'slogin host', 'dbclient host', 'autossh -M 0 host', 'rsh host'])
    it(`treats the words after \`${wrapper}\` as a script`, () => assertView(start(`${wrapper} id; ${COMMAND}`), VIEW));

  for (const wrapper of [
    ...['sudo -s', 'doas -s', 'su -', 'runuser -u www', 'chroot /mnt', 'unshare -m', 'nsenter -t 1 -m'],
    ...['ssh host', 'slogin host', 'dbclient host', 'rsh host'],
  ])
    it(`reads the script on the standard input of \`${wrapper}\``, () =>
      assertView(script(`echo ${COMMAND} | ${wrapper}`), VIEW));

  it('appends the standard input of xargs to its command', () => assertView(script('echo -l 1 | xargs nc'), VIEW));

  for (const wrapper of [
    ...['sudo -D /srv', 'sudo --chdir /srv', 'sudo --chdir=/srv', 'env -C /srv', 'env --chdir /srv'],
    ...['systemd-run --working-directory /srv', 'systemd-run --working-directory=/srv'],
    ...['start-stop-daemon -S -d /srv -x', 'start-stop-daemon -S --exec ./x --chdir=/srv --'],
  ])
    it(`resolves the program in the directory of \`${wrapper}\``, () =>
      assertView(start(`${wrapper} ./x`), wrapper.endsWith('--') ? '/srv/x | ./x ./x @ /srv' : '/srv/x | ./x @ /srv'));

  it('is covered by these tests completely', () => {
    const tested = [...BEFORE_COMMANDS, ...BEFORE_SCRIPTS, 'start-stop-daemon'].map((line) => line.split(' ')[0]);
    assert.deepEqual(
      Object.keys(WRAPPERS).filter((name) => !tested.includes(name)),
      [],
    );
  });
});
