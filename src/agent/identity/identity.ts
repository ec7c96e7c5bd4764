import type { Clock } from '../../core/base/clock.ts';
import { minutes } from '../../core/base/duration.ts';
import type { Logger } from '../../core/base/log.ts';
import type { HubFailure } from '../../core/contract/hub.ts';
import type { Network } from '../../core/network/network.ts';
import type { StateFolder } from '../state/state-folder.ts';

/** A module at a hub, and how to reach it. */
export interface ModuleAddress {
  /** The hub's name, as in user names and tokens; without a port. */
  readonly hostName: string;
  readonly deviceId: string;
  readonly moduleId: string;
  /** `host` or `host:port` to connect to. If absent, `hostName`. */
  readonly connectTo?: string;
  /** PEM of the authorities that sign that host's certificate, instead of the configured ones. */
  readonly trustedCa?: string;
}

/** The end of a certificate. */
export interface CertificateEnd {
  readonly expiresAt: Date;
  /** From then on it expires soon: a quarter of its life before the end, at most 30 days. */
  readonly dueAt: Date;
}

/** What authenticates one connection. */
export type Proof =
  | {
      readonly kind: 'token';
      /** A shared access signature for the module. Secret. */
      readonly token: string;
      readonly expiresAt: Date;
    }
  | ({
      readonly kind: 'certificate';
      /** PEM: the certificate, then its chain. */
      readonly certificate: string;
      /** PEM. Secret. */
      readonly key: string;
    } & CertificateEnd);

/** What one connection needs. */
export interface Presentation {
  readonly module: ModuleAddress;
  readonly proof: Proof;
  /** Which of several credentials this is, for the status: `primary`, `secondary`, … */
  readonly source: string;
  /** The end of the device's certificate, if the next presentation needs it although `proof` is another one. */
  readonly deviceCertificate?: CertificateEnd;
}

/** A step of making a presentation, for `vakt check`. */
export interface Step {
  /** The subject of the step in one or two words, such as `certificate` or `provisioning`. */
  readonly name: string;
  /** The result, in one line without secrets. */
  readonly text: string;
  /** Shown with --verbose only, one line each: addresses, certificates. */
  readonly details?: readonly string[];
  /** Present: not as it should be, although the connection may succeed. Says what to do. */
  readonly remedy?: string;
}

/** How one presentation is made. */
export interface PresentOptions {
  readonly signal: AbortSignal;
  /** Called for each step that succeeded. */
  readonly onStep?: (step: Step) => void;
}

/**
 * Who the agent is to a hub. Makes what each connection needs: reads files, asks services.
 *
 * One presentation is made at a time.
 */
export interface Identity {
  /** `identity.kind` of the local file. */
  readonly kind: string;
  /**
   * Makes what the next connection needs. Files are read again each time.
   *
   * @throws HubFailure whose `retryCause` says how soon to try again
   */
  present(options: PresentOptions): Promise<Presentation>;
  /** Called when the hub accepted a presentation. */
  accepted?(presentation: Presentation): void;
  /**
   * Called when the hub refused a presentation, or connecting with it failed; not if the other port is tried at once.
   *
   * @returns whether the next presentation is a different one, worth an attempt at once
   */
  failed?(presentation: Presentation, failure: HubFailure): boolean;
  /** Whether `present()` reads files only. If not, `vakt check` doesn't call it beside a running agent. */
  readonly isLocal?: boolean;
  /** The setting that names the host to connect to, for remedies. If absent, hub.hostName or hub.gatewayHostName. */
  readonly namedBy?: string | undefined;
  /** The files that are read. When one changes, the agent makes a new presentation and connects with it. */
  readonly files: readonly string[];
  /** Every secret that is in memory now, for those who must not show them. */
  secrets(): readonly string[];
}

/** What an identity can use. */
export interface IdentityContext {
  readonly hub: {
    readonly hostName?: string | undefined;
    readonly gatewayHostName?: string | undefined;
    /** `host:port` of the hub's REST interface. If absent, port 443 of the hub. */
    readonly restEndpoint?: string | undefined;
  };
  readonly network: Network;
  readonly clock: Clock;
  readonly log: Logger;
  readonly environment: NodeJS.ProcessEnv;
  /** What survives a restart; never a secret. `vakt check` only reads it. `undefined`: nothing does. */
  readonly state: StateFolder | undefined;
  /** Whether this is the agent, which may change the hub's registry, and not `vakt check`. */
  readonly mayCreate: boolean;
}

/** Lifetime of the tokens that are signed for a connection. */
export const TOKEN_LIFE = minutes(60);
