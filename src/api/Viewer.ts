/**
 * From where a client looks at the cluster: its listener decides which of a broker's addresses it is told (KIP-103),
 * and while `advertised.listeners` is unset this broker's address is the one the client's own socket connected to,
 * which is right on loopback, LAN and host networks.
 */
import type { BrokerRegistration, MetadataImage } from "../metadata/MetadataImage.ts";
import { aliveBrokers } from "../metadata/MetadataImage.ts";
import type { Endpoint } from "../platform/Network.ts";
import type { RequestContext } from "./RequestContext.ts";

export interface Viewer {
  readonly listener: string;
  /** The broker that answers. */
  readonly nodeId: number;
  /** This broker's address as the client sees it; undefined when `advertised.listeners` says it. */
  readonly socket: Endpoint | undefined;
}

export interface BrokerNode {
  readonly id: number;
  readonly host: string;
  readonly port: number;
  readonly rack: string | null;
  readonly fenced: boolean;
}

export const viewerOf = ({ listener, connection, ports }: RequestContext): Viewer => ({
  listener,
  nodeId: ports.nodeId,
  socket: ports.config.list("advertised.listeners").length === 0 ? connection.local : undefined,
});

/** A dual-stack socket shows IPv4 peers as `::ffff:a.b.c.d`; clients are told the IPv4 address. */
const plainHost = (host: string): string => (host.startsWith("::ffff:") ? host.slice("::ffff:".length) : host);

/** The broker's address for this viewer, or undefined when it has none on the viewer's listener. */
export const nodeOf = (broker: BrokerRegistration, viewer: Viewer): BrokerNode | undefined => {
  const { brokerId: id, rack, fenced } = broker;
  if (id === viewer.nodeId && viewer.socket !== undefined) {
    return { id, host: plainHost(viewer.socket.host), port: viewer.socket.port, rack, fenced };
  }
  const endPoint = broker.endPoints.find((each) => each.name === viewer.listener);
  return endPoint === undefined ? undefined : { id, host: endPoint.host, port: endPoint.port, rack, fenced };
};

/** The brokers a client may talk to, by id. */
export const aliveNodes = (image: MetadataImage, viewer: Viewer): BrokerNode[] => {
  const nodes: BrokerNode[] = [];
  for (const broker of aliveBrokers(image)) {
    const node = nodeOf(broker, viewer);
    if (node !== undefined) nodes.push(node);
  }
  return nodes;
};

/**
 * The controller clients are told of: a live broker's id, as KRaft brokers answer, and one that is among `nodes` (the
 * answering broker when it can); -1 without any.
 */
export const controllerIdOf = (nodes: ReadonlyArray<BrokerNode>, viewer: Viewer): number =>
  nodes.find((node) => node.id === viewer.nodeId)?.id ?? nodes[0]?.id ?? -1;
