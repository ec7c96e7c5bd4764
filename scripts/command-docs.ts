/* Generates the man page and README's table of commands from the commands' help. */

import type { Command } from '../src/core/command-line/command.ts';
import { allCommands } from './commands.ts';
import { type DocumentGenerator, GENERATED, pageWithPart, table } from './documents.ts';

const commands = await allCommands();

/** Escapes text for troff: backslashes and hyphens, and lines that begin with a dot or a quote. */
const plain = (text: string) =>
  text
    .replaceAll('\\', '\\e')
    .replaceAll('-', '\\-')
    .replace(/^(?=[.'])/gm, '\\&');

/** Preformatted text, so that columns stay aligned. */
const asItIs = (text: string) => `.nf\n${plain(text)}\n.fi`;

function section({ summary, usage }: Command): string {
  const [call = '', ...more] = usage.split('\n');
  const details = more.join('\n').replace(/^\n+|\n+$/g, '');
  return `.SS "${plain(call)}"\n${plain(summary)}${details === '' ? '' : `\n.PP\n${asItIs(details)}`}\n`;
}

const page = () => `.\\" ${GENERATED}
.TH VAKT 8 "" "vakt" "System administration"
.SH NAME
vakt \\- security agent of an IoT device
.SH SYNOPSIS
.B vakt
.I COMMAND
[\\fIOPTION\\fR...]
.SH DESCRIPTION
Vakt connects to Azure IoT Hub as the device's security module and is configured through its module twin. It reports
program starts, network connections, logins, and the state of the system. Every dropped event is counted.
.PP
Results go to standard output, everything else to standard error. \\fBvakt\\fR \\fICOMMAND\\fR \\fB\\-\\-help\\fR prints
the options of a command.
.SH COMMANDS
${commands.map(section).join('')}.SS "vakt version"
Print the version.
.SH EXIT STATUS
0 done, 1 failed, 2 wrong usage, unless the command says otherwise.
.SH ENVIRONMENT
Every setting of the configuration file can be given as a variable: its path in capitals, with two underscores between
levels, such as
.BR VAKT_HUB__HOST_NAME .
Secrets are named by their files only.
.SH FILES
.TP
.I /etc/vakt/agent.json
Local configuration; comments are allowed.
.TP
.I /etc/vakt/secrets
Keys and certificates, readable by root only. systemd copies them for the service when it starts: restart it after a change.
.TP
.I /var/lib/vakt
Queues and state, of the user
.BR vakt .
.TP
.I /run/vakt/control.sock
Socket on which the running agent answers
.BR "vakt status" .
.TP
.I /usr/share/doc/vakt
README.md, install.md, identity.md, configure.md, settings.md (every setting), contract.md (messages and module twin) and
TROUBLESHOOTING.md.
.SH SEE ALSO
.BR systemctl (1),
.BR journalctl (1),
.BR auditd (8)
`;

export const commandDocuments: readonly DocumentGenerator[] = [
  { path: 'packaging/vakt.8', generate: page },
  pageWithPart('README.md', 'commands', () =>
    table(
      ['command', 'purpose'],
      [...commands, { name: 'version', summary: 'Print the version.' }].map(({ name, summary }) => [
        `\`vakt ${name}\``,
        summary,
      ]),
    ),
  ),
];
