import type { Identity, IdentityContext, ModuleAddress, PresentOptions } from './identity.ts';
import type { DeviceProof } from './module-registry.ts';
import type { RegisteredModule } from './registered-module.ts';

export interface DeviceIdentityOptions {
  readonly kind: string;
  /** What `proof` reads. */
  readonly files: readonly string[];
  readonly module: ModuleAddress;
  /** Setting `identity.createModule`. */
  readonly createModule: boolean;
  /** Names the device's credential in remedies: `identity.keyFile /etc/vakt/secrets/device.key`. */
  readonly credential: string;
  /** Reads the device's credential. @throws HubFailure */
  readonly proof: (options: PresentOptions) => Promise<DeviceProof>;
  /** The device's secrets in memory. */
  readonly secrets: () => readonly string[];
  readonly context: IdentityContext;
}

/** An identity whose device reads the module's keys from the hub's registry. */
export function deviceIdentity({ kind, files, module, proof, secrets, ...options }: DeviceIdentityOptions): Identity {
  let registered: RegisteredModule | undefined;
  return {
    kind,
    files,
    async present(how) {
      const device = await proof(how);
      const { RegisteredModule } = await import('./registered-module.ts');
      registered ??= new RegisteredModule(options);
      return registered.present(module, device, how);
    },
    accepted: () => registered?.accepted(),
    failed: (_, failure) => registered?.failed(failure) ?? false,
    secrets: () => [...secrets(), ...(registered?.secrets() ?? [])],
  };
}
