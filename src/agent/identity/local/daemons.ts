import { userInfo } from 'node:os';
import * as v from 'valibot';
import { seconds } from '../../../core/base/duration.ts';
import { AgentError } from '../../../core/base/errors.ts';
import { pageOf } from '../../../core/base/pages.ts';
import { shellWord } from '../../../core/base/text.ts';
import { HubFailure, type RetryCause } from '../../../core/contract/hub.ts';
import { hostNameProblem, isHubId } from '../../../core/contract/hub-names.ts';
import {
  type IdentityContext,
  type ModuleAddress,
  type Presentation,
  type PresentOptions,
  TOKEN_LIFE,
} from '../identity.ts';
import { addressAt, areSameHub } from '../kind.ts';
import { resourceOf, unsignedToken } from '../sas-token.ts';
import { askLocal, LocalRefusal, LocalServiceError, notUnderstood } from './local-service.ts';

/** An HMAC-SHA256 in base64, as the answer of a service: 32 bytes. */
export const HMAC_SHA256 = v.pipe(v.string(), v.regex(/^[A-Za-z0-9+/]{43}=$/));

/** A daemon of the service, its socket's name, and the group that may open it. */
export interface Daemon {
  readonly name: string;
  readonly socketPath: string;
  readonly group: string;
}

export interface Daemons {
  readonly identityd: Daemon;
  readonly keyd: Daemon;
}

/** The oldest version: every release understands it. */
const API = 'api-version=2020-09-01';

/**
 * Longer than for other requests: identityd asks the hub. Its answer and the 5 s until the next request must fit into 15 s
 * (contract §1).
 */
const IDENTITY_LIMIT = seconds(8);

const HUB_ID = v.pipe(v.string(), v.check(isHubId));
const HOST = v.pipe(
  v.string(),
  v.maxLength(300),
  v.check((name) => hostNameProblem(name) === undefined),
);

/** Identity of a module, or of the device itself, without `moduleId`. */
const IdentityAnswer = v.object({
  spec: v.object({
    hubName: HOST,
    gatewayHost: v.nullish(HOST),
    deviceId: HUB_ID,
    moduleId: v.nullish(HUB_ID),
    auth: v.nullish(v.object({ type: v.string(), keyHandle: v.nullish(v.pipe(v.string(), v.maxLength(16_384))) })),
  }),
});
type Spec = v.InferOutput<typeof IdentityAnswer>['spec'];

const SignatureAnswer = v.object({ signature: HMAC_SHA256 });

/**
 * Makes a presentation by the services of the device. All steps are taken each time: the module may have moved to
 * another hub, and its key may have been replaced.
 *
 * Sources: docs/develop-an-agent.md and docs/api of Azure/iot-identity-service.
 *
 * @throws HubFailure IDENTITY_SERVICE_UNREACHABLE, IDENTITY_SERVICE_REFUSED, CONFIG_INVALID
 */
export async function presentByIdentityService(
  { identityd, keyd }: Daemons,
  { hub, clock }: Pick<IdentityContext, 'hub' | 'clock'>,
  { signal, onStep }: PresentOptions,
): Promise<{ presentation: Presentation; secrets: readonly string[] }> {
  const asked = { path: `/identities/identity?${API}` };
  const identity = await askLocal(identityd, asked, { clock, signal, limit: IDENTITY_LIMIT }).catch((error) => {
    throw failureOfIdentityd(error, identityd);
  });
  const { spec } = checked(IdentityAnswer, identity, identityd);
  const { module, keyHandle } = moduleOf(spec, hub);
  onStep?.({
    name: 'identity service',
    text: `${module.deviceId}/${module.moduleId} at ${module.hostName}, by a key of the IoT Identity Service`,
    details: [`asked at ${identityd.socketPath}`, `connects to ${module.connectTo ?? module.hostName}`],
  });

  const unsigned = unsignedToken(resourceOf(module), new Date(clock.now().getTime() + TOKEN_LIFE));
  const message = Buffer.from(unsigned.text).toString('base64');
  const body = { keyHandle, algorithm: 'HMAC-SHA256', parameters: { message } };
  const signed = await askLocal(keyd, { path: `/sign?${API}`, body }, { clock, signal }).catch((error) => {
    throw failureOfKeyd(error, keyd);
  });
  const { signature } = checked(SignatureAnswer, signed, keyd);
  const { text: token, expiresAt } = unsigned.withSignature(signature);
  onStep?.({ name: 'key service', text: `${keyd.socketPath} signs with the module's key` });
  return {
    presentation: { module, proof: { kind: 'token', token, expiresAt }, source: 'primary' },
    secrets: [token, keyHandle],
  };
}

function checked<T extends v.GenericSchema>(schema: T, answer: unknown, daemon: Daemon): v.InferOutput<T> {
  const result = v.safeParse(schema, answer);
  if (result.success) return result.output;
  throw unreachable(notUnderstood(daemon), daemon);
}

function moduleOf(
  { hubName, gatewayHost, deviceId, moduleId, auth }: Spec,
  hub: IdentityContext['hub'],
): { module: ModuleAddress; keyHandle: string } {
  if (moduleId == null) {
    const message = `the IoT Identity Service answered with the identity of device ${deviceId}, not of a module`;
    throw refused(
      message,
      `In the principal of user ${userId()}, set idtype = ["module"]: ${principalCommand()}`,
      'local',
    );
  }
  if (auth?.type !== 'sas' || auth.keyHandle == null) {
    const type = auth?.type === 'x509' ? 'an X.509 certificate whose key stays in keyd' : 'no symmetric key';
    const message = `the IoT Identity Service gives module ${moduleId} ${type}, by which the agent can't connect`;
    const remedy = `Let the module have a symmetric key (auth type "sas"), which the TPM can hold as well; see ${pageOf('identity')}.`;
    throw refused(message, remedy, 'credentials');
  }
  if (hub.hostName !== undefined && !areSameHub(hub.hostName, hubName)) {
    const message = `hub.hostName is ${hub.hostName}, but the IoT Identity Service connects this device to ${hubName}`;
    const remedy = 'Remove hub.hostName: the IoT Identity Service says which hub it is.';
    throw new HubFailure(new AgentError('CONFIG_INVALID', message, remedy), 'credentials');
  }
  const isDirect = gatewayHost == null || areSameHub(gatewayHost, hubName);
  const gateway = hub.gatewayHostName ?? (isDirect ? hub.hostName : gatewayHost);
  return { module: addressAt(hubName, { deviceId, moduleId }, gateway), keyHandle: auth.keyHandle };
}

const refused = (message: string, remedy: string, cause: RetryCause) =>
  new HubFailure(new AgentError('IDENTITY_SERVICE_REFUSED', message, remedy), cause);

function unreachable(error: LocalServiceError, { name, group }: Daemon): HubFailure {
  const [problem, remedy] =
    error.kind === 'forbidden'
      ? [`${error.message}; its group is ${group}`, groupsRemedy()]
      : [error.message, `Run: aziotctl system status; if aziot-${name} does not run: aziotctl system restart`];
  const message = `${name} of the IoT Identity Service can't be used: ${problem}`;
  return new HubFailure(new AgentError('IDENTITY_SERVICE_UNREACHABLE', message, remedy), 'local');
}

function failureOfIdentityd(error: unknown, daemon: Daemon): unknown {
  if (!(error instanceof LocalRefusal)) return notAnswered(error, daemon);
  const { status, message } = error;
  const answered = `identityd of the IoT Identity Service answered with ${message}`;
  if (error.isTemporary) return unable(answered, daemon);
  if (status === 401 || status === 403) {
    return refused(`${answered}: it has no principal of a module for user ${userId()}`, principalRemedy(), 'local');
  }
  if (status === 404) {
    // It asks the hub each time, which must not happen more often than the agent itself would.
    return refused(`${answered}: it could not get the module's identity from the hub`, LOOK, 'network');
  }
  const remedy =
    'Provision the device: complete /etc/aziot/config.toml, then run: aziotctl config apply && aziotctl check';
  return refused(`${answered}: the device or its module has no identity yet`, remedy, 'local');
}

function failureOfKeyd(error: unknown, daemon: Daemon): unknown {
  if (!(error instanceof LocalRefusal)) return notAnswered(error, daemon);
  const answered = `keyd of the IoT Identity Service answered the request for a signature with ${error.message}`;
  // The key may have been replaced between the two requests; the next presentation asks for its new handle.
  return error.isTemporary ? unable(answered, daemon) : refused(answered, LOOK, 'local');
}

const LOOK = 'Look for the cause: aziotctl check; aziotctl system logs';

const notAnswered = (error: unknown, daemon: Daemon) =>
  error instanceof LocalServiceError ? unreachable(error, daemon) : error;

function unable(answered: string, { name }: Daemon): HubFailure {
  const remedy = `Look for the cause: aziotctl check; journalctl -u aziot-${name}`;
  return new HubFailure(new AgentError('IDENTITY_SERVICE_UNREACHABLE', answered, remedy), 'local');
}

const userId = () => process.geteuid?.() ?? 0;

/** The name, or the id of a user without one, as in containers. */
function userName(): string {
  try {
    return userInfo().username;
  } catch {
    return String(userId());
  }
}

/** Names all sockets that are needed, so that an operator does not find them one error at a time. */
const groupsRemedy = () =>
  `Run: usermod --append --groups aziotid,aziotks ${shellWord(userName())}; then restart the agent, for example: systemctl restart vakt`;

/** Source: docs/develop-an-agent.md of Azure/iot-identity-service. */
const principalCommand = () =>
  `printf '[[principal]]\\nuid = ${userId()}\\nname = "azureiotsecurity"\\nidtype = ["module"]\\n' | install -o aziotid -g aziotid -m 0600 /dev/stdin /etc/aziot/identityd/config.d/vakt.toml && aziotctl system restart`;

function principalRemedy(): string {
  const asRoot =
    userId() === 0 ? "If the agent is not root's, run this command as its user: runuser -u vakt -- vakt check. " : '';
  return `${asRoot}Run: ${principalCommand()}`;
}
