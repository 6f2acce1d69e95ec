/** Every kind of client a plan may name. A new one is one entry here and its name in `Scenario.ts`. */
import type { ClientKindName } from "../Scenario.ts";
import { adminClient } from "./AdminClient.ts";
import { assignedConsumer, mixedClient } from "./AssignedClients.ts";
import type { ClientKind } from "./ClientKind.ts";
import { copier } from "./Copier.ts";
import { groupMember } from "./GroupMember.ts";
import { expiringWriter, keyedWriter, vanishingReader } from "./KeyedClients.ts";
import { idempotentProducer, plainProducer } from "./Producers.ts";
import { resumedProducer } from "./ResumedProducer.ts";
import { streamConsumer, streamCopier, streamMember, streamProducer } from "./StreamClients.ts";
import { streamTransactional } from "./StreamTransactional.ts";
import { transactionalClient } from "./TransactionalClient.ts";

export const CLIENT_KINDS: Readonly<Record<ClientKindName, ClientKind>> = {
  plain: plainProducer,
  idempotent: idempotentProducer,
  resumed: resumedProducer,
  mixed: mixedClient,
  consumer: assignedConsumer,
  admin: adminClient,
  member: groupMember,
  transactional: transactionalClient,
  copier,
  keyed: keyedWriter,
  "keyed reader": vanishingReader,
  expiring: expiringWriter,
  "expiring reader": vanishingReader,
  "stream producer": streamProducer,
  "stream consumer": streamConsumer,
  "stream member": streamMember,
  "stream copier": streamCopier,
  "stream transactional": streamTransactional,
};
