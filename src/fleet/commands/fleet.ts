import { readArguments, UsageError, type World } from '../../core/command-line/command.ts';
import { OPTIONS } from './task.ts';

export const summary = "Manage the security modules of a hub's devices, from a workstation.";
export const usage = `vakt fleet create CHOICE [OPTION ...]
       vakt fleet configure FILE CHOICE [OPTION ...]
       vakt fleet status [CHOICE] [OPTION ...]
       vakt fleet call METHOD CHOICE [OPTION ...]

Runs on a workstation or in a pipeline, from a clone of the project, where docs/fleet.md explains it; it is not part of an
installed agent.

  create           create the module on the chosen devices where it is missing
  configure FILE   validate a configuration as agents do, and write it to the modules' twins
  status           show what the agents report
  call METHOD      call a direct method: ping, getStatus, collectNow, flush, pause ...

Devices (CHOICE, one of these; "status" shows all by default):
  --device ID        this device; may be given several times
  --where CONDITION  devices for which this holds, in the hub's query language: --where 'tags.site = 1'
                     "create" queries the twins of the devices, the other commands those of the modules
  --all              all

Hub and credential (one of these):
  --connection-string-file FILE  connection string of a shared access policy; only its owner may be able to read the file
  --hub HOSTNAME                 use Microsoft Entra: "az login", a managed identity, or variables for @azure/identity
  IOTHUB_CONNECTION_STRING       this variable, if neither is given
  --trusted-ca-file FILE         authorities to trust instead of those of Node; for the emulator, or a proxy

Proxy:
  --proxy URL                    through this HTTP proxy, http://[USER@]HOST:PORT, instead of HTTPS_PROXY; NO_PROXY then
                                 exempts nothing
  --proxy-password-file FILE     the password of its user; only its owner may be able to read the file

create:
  --tag NAME=VALUE       tag of new modules; may be given several times
  --configuration FILE   desired configuration of new modules
  --overwrite            set tags and configuration of existing modules, too
  --key-directory DIR    write each module's key to DIR/DEVICE.key (0600), for "identity.keyFile"

configure:
  --wait DURATION        then show how many agents have applied it, refuse it or are silent, for up to this time (PT10M)

status:
  --degraded --paused --silent --alerts --outdated   only modules in any of these states (config/queries.md)
                     "--degraded" also shows why, and counts the devices by reason
  --json             one JSON object per line
  --csv              comma-separated values

call:
  --payload JSON     the payload; default none
  --timeout DURATION how long an agent may take to answer, PT5S to PT5M; default PT30S
  --json             one JSON object per line

  --dry-run          with create, configure and call: show the changes without making them
  --yes              do not ask before changing or calling more than one device
  --module ID        default azureiotsecurity
  --twin-object-name NAME  name of the configuration object, if the agents have another twinObjectName

A repeated command skips finished devices. The command respects the hub's limits: five requests at a time, and pauses when
the hub throttles it (429).

Exit status: 0 success; 1 something failed, or an agent refused or was silent; 2 wrong usage.`;

export async function run(args: readonly string[], world: World): Promise<number> {
  const { values, positionals } = readArguments(args, OPTIONS, 2);
  const [name = '', argument] = positionals;
  if (name === '') throw new UsageError('name a command: create, configure, status or call');
  const { runFleet } = await import('./run.ts');
  return runFleet({ name, argument, values }, world);
}
