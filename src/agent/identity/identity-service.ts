import { join } from 'node:path';
import * as v from 'valibot';
import { AgentError } from '../../core/base/errors.ts';
import { path } from '../../core/contract/local-schemas.ts';
import { socketPathProblem } from '../../core/network/unix-socket.ts';
import type { Identity, IdentityContext, Presentation, PresentOptions } from './identity.ts';
import { identityKind, namedBy } from './kind.ts';
import type { Daemon, Daemons } from './local/daemons.ts';

/** The IoT Identity Service of this device says who the module is, and signs for it: keys stay in its TPM or HSM. */
export const identityService = identityKind({
  kind: 'identityService',
  schema: v.strictObject({
    kind: v.literal('identityService'),
    socketDirectory: v.optional(
      path('Directory of the sockets identityd.sock and keyd.sock of the IoT Identity Service.'),
      '/run/aziot',
    ),
  }),
  create: ({ kind, socketDirectory }, context) => new ServiceIdentity(kind, socketDirectory, context),
});

class ServiceIdentity implements Identity {
  readonly files = [];
  readonly kind: string;
  readonly namedBy: string | undefined;
  readonly #daemons: Daemons;
  readonly #context: Pick<IdentityContext, 'hub' | 'clock'>;
  #secrets: readonly string[] = [];

  constructor(kind: string, directory: string, context: IdentityContext) {
    this.kind = kind;
    this.namedBy = namedBy('the hub and the gateway in /etc/aziot/config.toml', context.hub);
    this.#context = context;
    const daemon = (name: string, group: string): Daemon => {
      const socketPath = join(directory, `${name}.sock`);
      const problem = socketPathProblem(socketPath);
      if (problem === undefined) return { name, socketPath, group };
      const message = `identity.socketDirectory is too long: ${socketPath} ${problem}`;
      throw new AgentError('CONFIG_INVALID', message, 'Remove identity.socketDirectory: the default is /run/aziot.');
    };
    this.#daemons = { identityd: daemon('identityd', 'aziotid'), keyd: daemon('keyd', 'aziotks') };
  }

  async present(options: PresentOptions): Promise<Presentation> {
    const { presentByIdentityService } = await import('./local/daemons.ts');
    const { presentation, secrets } = await presentByIdentityService(this.#daemons, this.#context, options);
    this.#secrets = secrets;
    return presentation;
  }

  secrets(): readonly string[] {
    return this.#secrets;
  }
}
