import { describe, expect, test } from "bun:test";
import { DescribeCluster } from "../../src/api/60-DescribeCluster.ts";
import { CLUSTER_ID, oneBroker } from "../metadata/Cluster.ts";
import { Handling } from "./Handling.ts";

const cluster = () => {
  const three = oneBroker();
  three.register(2, { rack: "r2" });
  three.register(3, { fenced: true });
  return three;
};

describe("DescribeCluster (#59)", () => {
  test("every version: cluster id, live brokers, a controller among them", async () => {
    for (let version = 0; version <= 2; version++) {
      const response = await new Handling({ cluster: cluster() }).call(60, DescribeCluster, version);
      expect(response).toMatchObject({ errorCode: 0, errorMessage: null, clusterId: CLUSTER_ID, controllerId: 1 });
      expect(response.brokers).toEqual([
        { brokerId: 1, host: "10.0.0.7", port: 19092, rack: null, isFenced: false },
        { brokerId: 2, host: "127.0.0.1", port: 9094, rack: "r2", isFenced: false },
      ]);
    }
  });

  test("v2: fenced brokers on request", async () => {
    const { brokers } = await new Handling({ cluster: cluster() }).call(60, DescribeCluster, 2, {
      includeFencedBrokers: true,
    });
    expect(brokers.map((broker) => [broker.brokerId, broker.isFenced])).toEqual([
      [1, false],
      [2, false],
      [3, true],
    ]);
  });

  test("endpoint type 2 is 114, an unknown one 115", async () => {
    const ask = async (endpointType: number) => {
      const { errorCode, errorMessage, brokers } = await new Handling().call(60, DescribeCluster, 1, { endpointType });
      return [errorCode, errorMessage, brokers];
    };
    expect(await ask(2)).toEqual([
      114,
      "The request was sent to an endpoint of type BROKER, but we wanted an endpoint of type CONTROLLER",
      [],
    ]);
    expect(await ask(9)).toEqual([115, "Unsupported endpoint type 9", []]);
  });

  test("authorized operations when asked for", async () => {
    const ask = async (includeClusterAuthorizedOperations: boolean) =>
      (await new Handling().call(60, DescribeCluster, 0, { includeClusterAuthorizedOperations }))
        .clusterAuthorizedOperations;
    expect([await ask(false), await ask(true)]).toEqual([-2147483648, 8096]);
  });
});
