import assert from 'node:assert/strict';
import { readField } from '../../../src/agent/detections/read-field.ts';
import { subjectOf } from '../../../src/agent/detections/subjects.ts';
import { downloadTargets, runTarget } from '../../../src/agent/detections/targets.ts';
import { MAX_VIEWS } from '../../../src/agent/detections/views/limits.ts';

const viewOf = (line: string) => {
  const [program = ''] = line.split(' ');
  return { Image: `/usr/bin/${program}`, CommandLine: line, CurrentDirectory: '/t' };
};

describe('downloadTargets', () => {
  for (const [line, ...files] of [
    ['wget http://h/a', '/t/a'],
    ['wget -qO /tmp/x http://h/a http://h/b', '/tmp/x'],
    ['wget --output-document=/tmp/x http://h/a', '/tmp/x'],
    ['wget -P /tmp http://h/a http://h/b', '/tmp/a', '/tmp/b'],
    ['wget http://h/a http://h/b http://h/c http://h/d http://h/e', '/t/a', '/t/b', '/t/c', '/t/d'],
    ['wget http://h/x?a=1', '/t/x?a=1'],
    ['wget http://h/', '/t/index.html'],
    ['wget -U a.b/c h.org/x', '/t/x'],
    ['wget -qO- http://h/a'],
    ['wget -g h -l /tmp/k -r d/k', '/tmp/k'],
    ['wget -g h -r d/k', '/t/k'],
    ['wget2 http://h/a', '/t/a'],
    ['curl http://h/a'],
    ['curl -sSLo x http://h/a', '/t/x'],
    ['curl -O http://h/a?b=1 -O http://h/b', '/t/a', '/t/b'],
    ['curl -o x http://h/a -o y http://h/b', '/t/x', '/t/y'],
    ['curl --output x http://h/a', '/t/x'],
    ['curl -u root:pw http://h/a'],
    ['curl --output-dir /tmp -O http://h/a', '/tmp/a'],
    ['axel -n 4 -o /tmp/x http://h/a', '/tmp/x'],
    ['axel http://h/a', '/t/a'],
    ['fetch -o /tmp/x http://h/a', '/tmp/x'],
    ['lwp-download http://h/a', '/t/a'],
    ['lwp-download -a http://h/a /tmp/x', '/tmp/x'],
    ['tftp -g -r d/k 192.0.2.1', '/t/k'],
    ['tftp -g -l /tmp/x -r d/k 192.0.2.1', '/tmp/x'],
    ['tftp 192.0.2.1 -c get d/k', '/t/k'],
    ['tftp 192.0.2.1 -c get d/k /tmp/x', '/tmp/x'],
    ['atftp --get --remote-file d/k --local-file /tmp/x h', '/tmp/x'],
    ['ftpget -u a -p b h /tmp/x d/k', '/tmp/x'],
    ['ncftpget -u a h /tmp d/k d/l', '/tmp/k', '/tmp/l'],
    ['ncftpget ftp://h/d/k', '/t/k'],
    ['scp -P 2222 -i k u@h:d/x /tmp/y', '/tmp/y', '/tmp/y/x'],
    ['scp u@h:d/x /tmp/', '/tmp/x'],
    ['scp u@h:d/x h:y .', '/t/x', '/t/y'],
    ['scp /etc/passwd u@h:'],
    ['rsync -e ssh h:d/x /tmp/y', '/tmp/y', '/tmp/y/x'],
    ['rsync -a rsync://h/m/x .', '/t/x'],
    ['rsync -a h:d/ /srv/'],
    ['rsync -a /srv/ /mnt/'],
    ['sftp -P 22 u@h:d/x', '/t/x'],
    ['sftp u@h:d/x /tmp/', '/tmp/x'],
    ['sftp u@h'],
    ['lftp -c open h; get d/x -o /tmp/y; bye', '/tmp/y'],
    ['lftp -e "get -O /tmp http://h/d/x"', '/tmp/x'],
    ['lftp -c "mget d/x d/y"', '/t/x', '/t/y'],
    ['lftp -c "put x"'],
    ['grep get http://h/a'],
  ] as const)
    it(line, () => assert.deepEqual(downloadTargets(viewOf(line)), files));
});

describe('a start that downloads several files', () => {
  const targetsOf = (Executable: string, CommandLine: string) => {
    const subject = subjectOf({ name: 'ProcessCreate', payload: { Executable, CommandLine }, time: 0 });
    assert.ok(subject !== undefined && subject.views.length <= MAX_VIEWS);
    assert.equal(readField(subject, subject.views[0], 'CommandLine'), CommandLine);
    return subject.views.map((view) => readField(subject, view, 'DownloadTarget'));
  };

  it('has a view for each of them', () => {
    assert.deepEqual(targetsOf('/usr/bin/wget', 'wget http://h/a http://h/b http://h/c'), ['a', 'b', 'c']);
  });

  it('has no more views than other starts, including those of all its commands', () => {
    const commands = Array.from({ length: 12 }, (_, i) => `wget http://h/${i} http://h/x http://h/y`);
    const targets = targetsOf('/usr/bin/bash', `bash -c ${commands.join('; ')}`);
    assert.equal(targets.length, MAX_VIEWS);
    for (const i of commands.keys()) assert.ok(targets.includes(`${i}`));
  });
});

describe('runTarget', () => {
  for (const [line, file] of [
    ['java -Xmx64m -jar x.jar', '/t/x.jar'],
    ['java Main', '/usr/bin/java'],
    ['insmod x.ko debug=1', '/t/x.ko'],
    ['dpkg -i x', '/t/x'],
    ['dpkg -l', '/usr/bin/dpkg'],
    ['sh x', '/t/x'],
  ] as const)
    it(line, () => assert.equal(runTarget(viewOf(line)), file));
});
