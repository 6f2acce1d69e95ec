// Kafka's own Admin client at a group's administration: what its tools do not reach. One step per argument, as the tests call it;
// each prints what the broker answered, one line a partition or member, errors by their exception's name.
import java.util.*;
import java.util.concurrent.ExecutionException;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.KafkaFuture;
import org.apache.kafka.common.TopicPartition;

public class GroupAdmin {
  static String outcome(KafkaFuture<?> future) throws InterruptedException {
    try {
      future.get();
      return "ok";
    } catch (ExecutionException failed) {
      return failed.getCause().getClass().getSimpleName();
    }
  }

  public static void main(String[] args) throws Exception {
    Map<String, Object> settings = Map.of("bootstrap.servers", args[0]);
    String group = args[1], topic = args[2];
    TopicPartition first = new TopicPartition(topic, 0), beyond = new TopicPartition(topic, 99);
    try (Admin admin = Admin.create(settings)) {
      for (String step : Arrays.copyOfRange(args, 3, args.length)) {
        String[] words = step.split("=");
        String said = switch (words[0]) {
          case "alter" -> outcome(admin.alterConsumerGroupOffsets(group, Map.of(first,
              new OffsetAndMetadata(Long.parseLong(words[1]), Optional.of(0), "by hand"))).partitionResult(first));
          case "offset" -> String.valueOf(
              admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get().get(first));
          case "delete-offset" -> outcome(
              admin.deleteConsumerGroupOffsets(group, Set.of(first)).partitionResult(first));
          case "delete-beyond" -> outcome(
              admin.deleteConsumerGroupOffsets(group, Set.of(beyond)).partitionResult(beyond));
          case "remove" -> {
            MemberToRemove member = new MemberToRemove(words[1]);
            yield outcome(admin.removeMembersFromConsumerGroup(group,
                new RemoveMembersFromConsumerGroupOptions(List.of(member))).memberResult(member));
          }
          case "remove-all" -> outcome(
              admin.removeMembersFromConsumerGroup(group, new RemoveMembersFromConsumerGroupOptions()).all());
          case "state" -> admin.describeConsumerGroups(List.of(group)).all().get().get(group).groupState()
              + " " + admin.describeConsumerGroups(List.of(group)).all().get().get(group).members().size();
          case "delete-group" -> outcome(admin.deleteConsumerGroups(List.of(group)).all());
          default -> throw new IllegalArgumentException(step);
        };
        System.out.println(words[0] + ": " + said);
      }
    }
  }
}
