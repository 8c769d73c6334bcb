# Stands in for AnyEvent::Task's own server in its own tests, so that they run against ours. It takes the place of
# fork_task_server alone:
#
#   BULLPEN_AET=go      another program listens already; the interface is its own
#   BULLPEN_AET=serve   starts $BULLPEN_BINARY serve, whose workers run the test file again, as
#   BULLPEN_AET=worker  which serves the test's interface on stdin and stdout, one JSON message a line
package AnyEvent::Task::Server;
use strict;
use warnings;
use Cwd ();
use JSON::XS ();
use POSIX ();

my ($server, $owner, $in, $out);

# Test::More, which is loaded after this, shall not speak on the wire.
if (($ENV{BULLPEN_AET} || '') eq 'worker') {
    open $in, '<&', \*STDIN or die $!;
    open $out, '>&', \*STDOUT or die $!;
    open STDOUT, '>&', \*STDERR or die $!;
}

sub fork_task_server {
    my %arg = @_;
    my $mode = $ENV{BULLPEN_AET} or die "BULLPEN_AET is not set";
    return if $mode eq 'go';
    work(\%arg) if $mode eq 'worker';
    # Its own workers are forked in no time, and surge.t needs five that are.
    my @limits = ('--standby', 5);
    push @limits, $arg{hung_worker_timeout} ? ('--hung-timeout', "$arg{hung_worker_timeout}s") : ();
    my $path = $arg{listen}[1];
    unlink $path;
    pipe my $r, my $w or die "pipe: $!";
    $owner = $$;
    $server = fork;
    die "fork: $!" unless defined $server;
    if (!$server) {
        open STDOUT, '>&', $w or die "stdout: $!";
        local $ENV{BULLPEN_AET} = 'worker';
        exec $ENV{BULLPEN_BINARY}, 'serve', '--listen', $path, @limits, '--', $^X, (map {"-I$_"} @INC), Cwd::abs_path($0);
        die "exec $ENV{BULLPEN_BINARY}: $!";
    }
    close $w;
    defined readline $r or die "the server did not start\n"; # it says where it listens
    return;
}

# The server ends with the test, whose checkouts may still write to it.
END {
    $SIG{PIPE} = 'IGNORE';
    if ($server && $owner == $$) {
        my $status = $?;
        kill INT => $server;
        waitpid $server, 0;
        $? = $status;
    }
}

# work is what AnyEvent::Task's worker does, with lines.
sub work {
    my ($arg) = @_;
    require AnyEvent::Task::Logger;
    my ($json, $set_up) = (JSON::XS->new->utf8, 0);
    my $interface = $arg->{interface};
    if (ref $interface eq 'HASH') {
        my $methods = $interface;
        $interface = sub { my $method = shift; $methods->{$method}->(@_) };
    }
    while (my $line = <$in>) {
        my ($kind, $meta, @call) = @{ $json->decode($line) };
        if ($kind eq 'dn') {
            $arg->{checkout_done}->() if $arg->{checkout_done};
            next;
        }
        local $AnyEvent::Task::Logger::log_defer_object;
        my $result = eval {
            if (!$set_up) { $arg->{setup}->() if $arg->{setup}; $set_up = 1 }
            $interface->(@call);
        };
        my $reply = $@ ? ['er', {}, ($set_up ? '' : 'setup exception: ') . $@] : ['ok', {}, $result];
        my $logged = $AnyEvent::Task::Logger::log_defer_object;
        $reply->[1]{ld} = $logged->{msg} if $logged;
        syswrite $out, $json->encode($reply) . "\n";
    }
    POSIX::_exit(0);
}

1;
