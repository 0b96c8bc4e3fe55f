# Completion of serialproxy for fish. The program says what fits, or fails where a file is wanted, which fish completes itself.

function __serialproxy_candidates
    set -l token (commandline --current-token --cut-at-cursor)
    # A quote that is still open cannot be unescaped.
    set -l typed (string unescape -- $token; or string trim --left --chars '"\'' -- $token)
    if set -l candidates (command serialproxy complete fish -- (commandline --current-process --tokenize --cut-at-cursor) "$typed" 2>/dev/null)
        printf '%s\n' $candidates
    else
        set -l option (string match --regex -- '^--[^=]+=' $token)
        for file in (complete --do-complete "'' "(string replace -- "$option" '' $token))
            echo "$option$file"
        end
    end
end

complete --command serialproxy --no-files --arguments '(__serialproxy_candidates)'
