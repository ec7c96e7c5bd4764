import { AgentError, errnoOf } from '../base/errors.ts';
import { readArguments, UsageError, type World } from './command.ts';

export const summary = 'Run a local IoT Hub, for tests and experiments.';
export const usage = `vakt emulator [--directory DIR] [--port N] [--control-port N] [--device ID] [--module ID]

  --directory DIR    where to write ca.pem, module.key and an agent.json for "vakt run"; default ./vakt-emulator
  --port N           port of MQTT over TLS; default any free one
  --control-port N   port of the control API (read messages, patch the twin, inject faults); default any free one
  --device ID        device id; default device1
  --module ID        module id; default azureiotsecurity`;

export async function run(args: readonly string[], { stdout, signal }: World): Promise<number> {
  const { values } = readArguments(args, {
    directory: { type: 'string', default: 'vakt-emulator' },
    port: { type: 'string', default: '0' },
    'control-port': { type: 'string', default: '0' },
    device: { type: 'string', default: 'device1' },
    module: { type: 'string', default: 'azureiotsecurity' },
  });
  const { runEmulator } = await loadEmulator(() => import('../emulator/command.ts'));
  const options = {
    port: port('--port', values.port),
    controlPort: port('--control-port', values['control-port']),
    deviceId: values.device,
    moduleId: values.module,
    directory: values.directory,
  };
  await runEmulator(options, stdout, signal);
  return 0;
}

function port(option: string, text: string): number {
  const number = Number(text);
  if (!/^\d+$/.test(text) || number > 65_535) throw new UsageError(`${option} takes a port number, not "${text}"`);
  return number;
}

/** The emulator needs development dependencies, which are not shipped. @throws {AgentError} EMULATOR_MISSING */
export async function loadEmulator<T>(load: () => Promise<T>): Promise<T> {
  try {
    return await load();
  } catch (cause) {
    if (errnoOf(cause) !== 'ERR_MODULE_NOT_FOUND') throw cause;
    const remedy = 'Run it from a clone of the project, after "npm ci".';
    throw new AgentError('EMULATOR_MISSING', 'the local hub is not part of an installed agent', remedy, { cause });
  }
}
