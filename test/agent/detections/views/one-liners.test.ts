import { assertView, type start } from './samples.ts';

const COMMAND = 'nc -l 1';
const VIEW = '/usr/bin/nc | nc -l 1';
const BASE64 = Buffer.from(COMMAND).toString('base64');
const HEX = Buffer.from(COMMAND).toString('hex');

const code = (interpreter: string, option: string, text: string): ReturnType<typeof start> => ({
  executable: `/usr/bin/${interpreter}`,
  commandLine: `${interpreter} ${option} ${text}`,
  argv: [interpreter, option, text],
});
const python = (text: string) => code('python3', '-c', text);
const perl = (text: string) => code('perl', '-e', text);
const php = (text: string) => code('php', '-r', text);
const ruby = (text: string) => code('ruby', '-e', text);
const node = (text: string) => code('node', '-e', text);

describe('views of one-line programs', () => {
  for (const line of [
    python(`os.system(base64.b64decode("${BASE64}"))`),
    python(`os.system(base64.urlsafe_b64decode("${BASE64}"))`),
    python(`os.system(base64.standard_b64decode("${BASE64}"))`),
    python(`os.system(base64.decodebytes(b"${BASE64}").decode())`),
    python(`os.system(binascii.a2b_base64("${BASE64}"))`),
    python(`os.system(binascii.a2b_hex("${HEX}"))`),
    python(`os.system(binascii.unhexlify("${HEX}"))`),
    python(`os.system(bytes.fromhex("${HEX}").decode())`),
    perl(`system(decode_base64("${BASE64}"))`),
    perl(`system(pack("H*", "${HEX}"))`),
    php(`system(base64_decode("${BASE64}"));`),
    php(`system(hex2bin("${HEX}"));`),
    php('system(str_rot13("ap -y 1"));'),
    ruby(`system(Base64.decode64("${BASE64}"))`),
    ruby(`system(Base64.strict_decode64("${BASE64}"))`),
    node(`execSync(atob("${BASE64}"))`),
    node(`execSync(Buffer.from("${BASE64}", "base64").toString())`),
  ])
    it(`decode the command in \`${line.commandLine}\``, () => assertView(line, VIEW));

  it('rotate all letters of str_rot13, and nothing else', () => {
    assertView(php('system(str_rot13("NZAanz 09@[`{"));'), '/usr/bin/AMNnam | AMNnam 09@[`{');
  });

  for (const name of [
    ...['system', 'popen', 'call', 'run', 'Popen', 'check_call', 'check_output', 'getoutput', 'getstatusoutput'],
    ...['popen2', 'popen3', 'create_subprocess_shell'],
  ])
    it(`run the command of Python's ${name}`, () => assertView(python(`x.${name}("${COMMAND}")`), VIEW));

  for (const name of ['system', 'exec', 'qx', 'capture2', 'capture3', 'spawn', 'syscmd'])
    it(`run the command of ${name} in Perl, Ruby or m4`, () => assertView(ruby(`${name}("${COMMAND}")`), VIEW));

  for (const name of ['shell_exec', 'passthru', 'proc_open', 'pcntl_exec', 'exec', 'backtick'])
    it(`run the command of ${name} in PHP`, () => assertView(php(`${name}("${COMMAND}");`), VIEW));

  for (const name of ['exec', 'execSync', 'spawn', 'execute'])
    it(`run the command of ${name} in JavaScript or Lua`, () => assertView(node(`c.${name}("${COMMAND}")`), VIEW));

  for (const name of [
    ...['execl', 'execle', 'execlp', 'execlpe', 'execv', 'execve', 'execvp', 'execvpe', 'posix_spawn', 'posix_spawnp'],
    ...['spawnl', 'spawnlp', 'spawnv', 'spawnvp', 'create_subprocess_exec', 'execFile', 'execFileSync', 'spawnSync'],
  ])
    it(`run the words of ${name}`, () => assertView(python(`x.${name}("nc", "-l", "1")`), VIEW));
});
